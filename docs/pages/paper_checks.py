"""docs/paper-checks.md, from the figures that `make paper` has written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

from autointerp import formatting
from pages.markdown import MARK, table

FIGURES = Path(__file__).with_name("paper_checks.json")

INTRO = """\
# The paper's checks

*Scaling Monosemanticity* checks its features on Claude 3 Sonnet with dictionaries of 1, 4 and 34 million features. `make paper` repeats the checks
that need no judge on the demo's model, of {parameters}, with three small dictionaries trained on its middle layer in one stream. All are made with
this program's own commands. Model, text and sizes are far smaller than the paper's, so the relations can be compared, and not the numbers.

```sh
make paper
```

## The figures

"""

NOTES = """
- **Attribution, ablation.** `autointerp attribute PROMPT --target TOKEN --against TOKEN --ablations 1000000`: all active pairs of a feature and a position
  after the first token are ablated, one pass each, as in the paper. Pearson correlations over the pairs of a prompt, and of the ten pairs with the largest
  attributions, or activations, those among the ten with the largest effects; means over {prompts} prompts, two of them the paper's.
- **Neurons.** {drawn} features drawn at random, without those that are silent on {tokens} tokens; the highest correlation with any neuron of all layers up to the
  dictionary's. The paper has 82% for its smallest dictionary and does not say on how many features and tokens.
- **Concepts.** `autointerp find --on ... --off ...`: features that fire in all of {n_on} texts with the concept and in none of {n_off} with other places. The rule is
  ours; the paper gives its counts of features about San Francisco without one. The texts stand in `autointerp/demo/paper/checks.toml`.
- **Dead.** Silent over the last {dead_tokens} tokens of training; the paper's are silent over 10 million.
"""


def page() -> str:
    """docs/paper-checks.md."""
    figures: dict[str, Any] = json.loads(FIGURES.read_text(encoding="utf-8"))
    names = [each["name"] for each in figures["dictionaries"]]
    header = ("figure", "the paper", *(f"{int(name):,} features" for name in names))
    first, neurons, concept = figures["dictionaries"][0], figures["neurons"][0], figures["concepts"][0]
    notes = NOTES.format(
        prompts=len(figures["attribution"]) // len(names),
        drawn=neurons["features"] + neurons["silent"],
        tokens=f"{neurons['tokens']:,}",
        dead_tokens=f"{first['dead_tokens']:,}",
        n_on=concept["n_on"],
        n_off=concept["n_off"],
    )
    parts = [
        MARK + INTRO.format(parameters="135 million parameters"), table(header, _summary(figures, names)), notes, "\n## Prompt by prompt\n\n",
        table(
            ("prompt", "token, other", "features", "logits", "pairs", "attribution", "activation", "top 10 by attribution", "by activation"),
            _prompts(figures["attribution"]),
        ),
        "\n## Features of the concepts\n\n", table(("concept", "features", "found", "first ones, at their strongest token"), _concepts(figures["concepts"])),
        "\n## Cost\n\n", _cost(figures),
    ]  # fmt: skip
    return "".join(parts)


def _summary(figures: dict[str, Any], names: list[str]) -> Iterator[tuple[str, ...]]:
    dictionaries, neurons = figures["dictionaries"], figures["neurons"]
    yield ("active features per token (L0)", "below 300", *(f"{each['l0']:.0f}" for each in dictionaries))
    yield (
        "variance explained",
        "65% or more",
        *(formatting.percent(each["explained_variance"]) for each in dictionaries),
    )
    yield ("dead features", "2%, 35%, 65%", *(formatting.percent(each["dead_fraction"]) for each in dictionaries))
    of = {name: [each for each in figures["attribution"] if each["dictionary"] == name] for name in names}
    for label, paper, key, shown in _AGREEMENT:
        yield (label, paper, *(shown(fmean(each[key] for each in of[name] if each[key] is not None)) for name in names))
    yield ("features without a neuron above 0.3", "82%", *(formatting.percent(each["unlike"]) for each in neurons))
    for each in figures["concepts"]:
        paper = "1, 2, 11" if each["concept"] == "San Francisco" else ""
        label = f"features of {each['concept']}, which the text names {each['occurrences']} times"
        yield (label, paper, *(str(found["features"]) for found in each["found"]))


_AGREEMENT: tuple[tuple[str, str, str, Callable[[float], str]], ...] = (
    ("correlation of attribution with ablation", "0.8", "attribution_ablation", formatting.number),
    ("correlation of activation with ablation", "0.12", "activation_ablation", formatting.number),
    ("of the top 10 by attribution, in the top 10 by ablation", "8", "top_attribution", lambda value: f"{value:.1f}"),
    ("of the top 10 by activation, in the top 10 by ablation", "3", "top_activation", lambda value: f"{value:.1f}"),
)


def _prompts(rows: Iterable[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    for row in sorted(rows, key=lambda row: row["prompt"]):
        correlations = (
            "" if row[key] is None else formatting.number(row[key])
            for key in ("attribution_ablation", "activation_ablation")
        )
        yield (
            row["prompt"], f"{row['target'].strip()}, {row['against'].strip()}", f"{int(row['dictionary']):,}", formatting.number(row["difference"]),
            str(row["ablated"]), *correlations, str(row["top_attribution"]), str(row["top_activation"]),
        )  # fmt: skip


def _concepts(concepts: Iterable[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    for each in concepts:
        for found in each["found"]:
            first = "; ".join(f"{row['unit_id'].removeprefix('feature-')}: {row['context']}" for row in found["first"])
            yield each["concept"], f"{int(found['dictionary']):,}", str(found["features"]), first


def _cost(figures: dict[str, Any]) -> str:
    machine, costs = figures["machine"], figures["costs"]
    rows = [
        (part, f"{cost['cpu_s']:,.0f}", f"{cost['wall_s']:,.0f}", f"{cost['load']:.1f}") for part, cost in costs.items()
    ]
    rows.append(
        (
            "together",
            f"{sum(c['cpu_s'] for c in costs.values()):,.0f}",
            f"{sum(c['wall_s'] for c in costs.values()):,.0f}",
            "",
        )
    )
    trained = figures["dictionaries"][0]["tokens"]
    flags = ", ".join(machine["flags"]) or "none of the usual flags"
    text = (
        f"\nMeasured on {machine['cores']} cores of an {machine['cpu']} ({flags}), with torch {machine['torch']} and {machine['threads']} threads. Training is on"
        f" {trained:,} activations for each dictionary (`autointerp/demo/paper/training.toml`). The load is that of the whole machine over the last 15 minutes"
        " of each part: above the number of cores, others were computing too.\n"
    )
    return table(("part", "CPU seconds", "seconds by the clock", "load"), rows) + text
