"""What a unit costs in judge tokens, explanation and score, beside delphi's defaults at an equally wide interval of the unit's score.

    calls, prompt, output   a unit: its explanation, and its items at the design's own number of them
    half-width              of a 95% interval of a unit's score, as a share of what the scale tells
    items, tokens           that bring the half-width to delphi's, and what they and the explanation take
    times fewer             delphi's tokens over these

What a scale tells is from chance to full marks: from 0.5 to 1 for delphi's accuracies, and here from the mean grade under another
unit's explanation to the highest grade. `--whole` takes 0 to 1 and 0 to the highest grade. delphi's score of a unit is the mean of its detection
and fuzzing accuracies: 200 yes-or-no answers, each right with the probability given as `--accuracy`. Ours is the mean over bins; its
spread is that of the grades within a bin of a unit in the run given, whose judge the table names. The last table replays `[adaptive]` with
`unit` over the grades of that run, beside judging all of its exemplars.

Tokens are counted by a llama.cpp server that renders its chat template and tokenises, and generates nothing: by default the local
judge of `make demo-llm`. The explainer is shown as many silent windows as a spec has by default. delphi's messages are built by delphi itself (0.1.3) from the same units' windows, cut to its 32
tokens; a unit with fewer windows than delphi wants shows some again. Controls are not counted: delphi has none.

Run with `python tests/benchmarks/tokens.py RUN [--url http://127.0.0.1:8080] [--units N] [--accuracy 0.7 0.8 0.9] [--whole] [--check N]`, where
RUN is the folder of a finished run. `--check` has the server answer N of the questions, to compare its own count.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats

from autointerp.harvest import tables as tables_
from autointerp.hashing import content_hash
from autointerp.judges import local_server
from autointerp.messages import MarkedText, Prompt, ScoreMaterial
from autointerp.prompts import explanation as explanation_prompt
from autointerp.prompts import grouped_grades, single_grade
from autointerp.prompts.single_grade import Ask
from autointerp.records import Exemplar, Unit, main_exemplars
from autointerp.spec import rubric
from autointerp.spec.rubric import Rubric
from autointerp.spec.sections import Adaptive, Explain
from autointerp.stats import stopping

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
CONFIDENCE = 0.95
TARGETS = (0.16, 0.127, 0.111, 0.083)
"""Half-widths for adaptive sampling: delphi's at accuracies of 0.7, 0.8 and 0.9, and a wider one."""
Z = float(scipy.stats.norm.ppf((1 + CONFIDENCE) / 2))
TRAIN, TEST, QUIET, WINDOW = 40, 50, 50, 32
"""delphi's defaults: windows shown to the explainer, judged active ones, judged silent ones, and tokens of each."""
ANSWERS = 2 * (TEST + QUIET)
EXPLANATION = "names of colours, such as red, blue and green"
"""Stands for delphi's explanation where its length is counted."""
Message = dict[str, str]


@dataclass(frozen=True)
class Recipe:
    """A way to score: what is asked for, items in a question, and tokens of a window."""

    ask: Ask
    per_call: int
    window: int = 48

    def __str__(self) -> str:
        return f"{self.ask}, per_call {self.per_call}" + (f", window {self.window}" if self.window != 48 else "")


RECIPES = (
    Recipe("reason", 1),
    Recipe("reason", 10),
    Recipe("grade", 1),
    Recipe("grade", 10),
    Recipe("grade", 10, 32),
    Recipe("grade", 20, 32),
)


@dataclass(frozen=True)
class Cost:
    """Tokens of an explanation, and of one item of a score, prompt and reply."""

    explanation: tuple[float, float]
    item: tuple[float, float]

    def of(self, items: float) -> float:
        return sum(self.explanation) + items * sum(self.item)


@dataclass(frozen=True)
class Done:
    """A finished run, read from its folder."""

    scale: Rubric
    units: list[Unit]
    exemplars: dict[str, list[Exemplar]]
    explanations: dict[str, str]
    unit_rows: pd.DataFrame
    judgements: pd.DataFrame
    judge: str

    @classmethod
    def read(cls, folder: Path) -> Done:
        summary = json.loads((folder / "summary.json").read_text())
        rows = {name: pd.read_parquet(folder / f"{name}.parquet") for name in ("units", "exemplars", "judgements")}
        units = rows["units"].query("kind in ('feature', 'neuron') and status == 'alive'").dropna(subset="explanation")
        of_units = rows["exemplars"].loc[rows["exemplars"]["unit_id"].isin(units["unit_id"])]
        exemplars: dict[str, list[Exemplar]] = {str(unit_id): [] for unit_id in units["unit_id"]}
        for exemplar in tables_.exemplars_of(of_units):
            exemplars[exemplar.unit_id].append(exemplar)
        first = rows["judgements"].query("repeat == 0")
        first = first.loc[(first["judge"] == first["judge"].iloc[0]) if "judge" in first else slice(None)]
        return cls(
            rubric.load(summary["rubric"]["name"]),
            tables_.units_of(units),
            exemplars,
            dict(zip(units["unit_id"], units["explanation"], strict=True)),
            units,
            first.loc[first["unit_id"].isin(units["unit_id"])],
            summary["judge"] + ("" if summary["judge_is_llm"] else ", which is not an LLM"),
        )

    @cached_property
    def main(self) -> pd.DataFrame:
        return self.judgements.loc[self.judgements["arm"] == "main"]

    @cached_property
    def turns(self) -> pd.Series[int]:
        """When each of `main` is judged among those of its unit and bin: they come in the order of their hash."""
        by_hash = self.main.assign(order=self.main["exemplar_id"].map(content_hash)).sort_values("order")
        return by_hash.groupby(["unit_id", "bin"]).cumcount().reindex(self.main.index)

    def range(self, whole: bool) -> float:
        """Grades from what another unit's explanation earns to full marks, or the whole scale."""
        shuffled = self.judgements.loc[self.judgements["arm"] == "shuffled", "score"].dropna()
        floor = min(self.scale.grades) if whole else float(shuffled.mean())
        return max(self.scale.grades) - floor


class Server:
    """A llama.cpp server's own counts."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")

    def prompt(self, messages: Sequence[Message]) -> int:
        """Prompt tokens of a question, chat template included."""
        return self.text(self._post("/apply-template", messages=messages)["prompt"])

    def text(self, text: str) -> int:
        return len(self._post("/tokenize", content=text, add_special=True, parse_special=True)["tokens"])

    def billed(self, messages: Sequence[Message]) -> int:
        """What the server says a real question took."""
        reply = self._post("/v1/chat/completions", messages=messages, max_tokens=1)
        return int(reply["usage"]["prompt_tokens"])

    def _post(self, path: str, **body: Any) -> Any:
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=600) as reply:
            return json.load(reply)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--url")
    parser.add_argument("--units", type=int, default=16, help="units whose prompts are counted; spreads are of all")
    parser.add_argument("--accuracy", type=float, nargs="+", default=[0.7, 0.8, 0.9])
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--check", type=int, default=0)
    arguments = parser.parse_args()
    run = Done.read(arguments.run)
    some = random.Random(0).sample(run.units, min(arguments.units, len(run.units)))
    theirs = delphi_messages(run, some)
    with ExitStack() as stack:
        url = arguments.url or stack.enter_context(local_server.serve(local_server.weights(lambda *_: None)))
        server = Server(url)
        delphi = delphi_cost(server, theirs, len(some))
        costs = {recipe: cost_of(server, run, some, recipe) for recipe in RECIPES}
        for messages in list(itertools.chain(*(unit["detection"][:1] for unit in theirs)))[: arguments.check]:
            print(f"the server bills {server.billed(messages)} prompt tokens, counted {server.prompt(messages)}")
    print("\n".join(report(run, delphi, costs, arguments.accuracy, arguments.whole, len(some))))


def report(
    run: Done, delphi: Sequence[float], costs: dict[Recipe, Cost], accuracies: Sequence[float], whole: bool, n: int
) -> Iterator[str]:
    """The tables."""
    spread = stopping.spread_of(stopping.cell_table(run.main, run.unit_rows))
    within = math.sqrt(fmean(found.within**2 for found in spread.values()))
    items, span = len(run.main) / len(run.units), run.range(whole)
    calls, prompt, output = delphi
    yield f"{len(run.units)} units; prompts of {n} counted; grades by {run.judge}: sd within a bin {within:.2f}, {span:.2f} grades of range"
    yield ""
    yield "| | calls | prompt | output | half-width |\n|---|---|---|---|---|"
    widths = ", ".join(f"{delphi_width(p, whole):.3f}" for p in accuracies)
    yield f"| delphi's defaults | {calls:.0f} | {prompt:,.0f} | {output:,.0f} | {widths} |"
    for recipe, cost in costs.items():
        into, out = (a + items * b for a, b in zip(cost.explanation, cost.item, strict=True))
        half = Z * within / math.sqrt(items) / span
        yield f"| {recipe} | {1 + items / recipe.per_call:.1f} | {into:,.0f} | {out:,.0f} | {half:.3f} |"
    for accuracy in accuracies:
        wanted = delphi_width(accuracy, whole)
        yield f"\nAt delphi's half-width with accuracies of {accuracy:g}, {wanted:.3f}:\n"
        yield "| | items | calls | tokens | times fewer |\n|---|---|---|---|---|"
        found = (Z * within / (wanted * span)) ** 2
        for recipe, cost in costs.items():
            tokens, calls = cost.of(found), 1 + found / recipe.per_call
            yield f"| {recipe} | {found:.1f} | {calls:.1f} | {tokens:,.0f} | {(prompt + output) / tokens:.1f} |"
    yield "\nAdaptive sampling, by the grades of the run:\n"
    yield "| half-width | grades | items a unit | units that narrow | all items a unit | units that narrow |"
    yield "|---|---|---|---|---|---|"
    for share in TARGETS:
        some, everything = adaptive_items(run, share * span), reached(run, run.turns >= 0, share * span)
        cells = " | ".join(f"{n:.1f} | {narrow:.0%}" for n, narrow in (some, everything))
        yield f"| {share:g} | {share * span:.2f} | {cells} |"


def delphi_width(accuracy: float, whole: bool) -> float:
    """Half of a 95% interval of the mean of `ANSWERS` answers, as a share of the range."""
    return Z * math.sqrt(accuracy * (1 - accuracy) / ANSWERS) / (1.0 if whole else 0.5)


def adaptive_items(run: Done, half_width: float) -> tuple[float, float]:
    """Items a unit that adaptive sampling asks for before each unit's interval is that narrow or its exemplars are used up, and the share
    of units whose interval is."""
    main, turn = run.main, run.turns
    asked = turn == 0
    for look in range(1, int(turn.max()) + 1):
        need = stopping.needed(
            main.loc[asked],
            run.unit_rows,
            Adaptive(unit=half_width),
            bins=int(main["bin"].max()),
            confidence=CONFIDENCE,
            look=look,
        )
        pairs = {(unit_id, bin_) for unit_id, bins in need.cells.items() for bin_ in bins}
        wanted = np.array([pair in pairs for pair in zip(main["unit_id"], main["bin"], strict=True)])
        if not (more := (turn == look) & wanted).any():
            break
        asked |= more
    return reached(run, asked, half_width)


def reached(run: Done, asked: pd.Series[bool], half_width: float) -> tuple[float, float]:
    """Items a unit, and the share of units whose interval is that narrow by them."""
    cells = stopping.cell_table(run.main.loc[asked], run.unit_rows)
    narrow = stopping.unit_intervals(cells, CONFIDENCE)["half_width"] <= half_width
    return float(asked.sum()) / len(run.units), float(narrow.mean())


def cost_of(server: Server, run: Done, some: Sequence[Unit], recipe: Recipe) -> Cost:
    """What the recipe's questions about these units take, in tokens."""
    explaining = [_explaining(run, unit, recipe.window) for unit in some]
    said = [json.dumps({"explanation": run.explanations[unit.unit_id]}) for unit in some]
    materials = [
        ScoreMaterial(run.explanations[unit.unit_id], _window(e, recipe.window))
        for unit in some
        for e in main_exemplars(run.exemplars[unit.unit_id])
    ]
    random.Random(1).shuffle(materials)
    some_items = materials[: max(40, 6 * recipe.per_call)]
    lots = [
        some_items[i : i + recipe.per_call] for i in range(0, len(some_items) - recipe.per_call + 1, recipe.per_call)
    ]
    build: Callable[[list[ScoreMaterial]], Prompt] = (
        (lambda lot: single_grade.prompt(run.scale, lot[0], 1024, recipe.ask))
        if recipe.per_call == 1
        else lambda lot: grouped_grades.prompt(run.scale, lot, 1024, "reason" if recipe.ask == "reason" else "grade")
    )
    return Cost(
        (fmean(server.prompt(_messages(prompt)) for prompt in explaining), fmean(map(server.text, said))),
        (
            fmean(server.prompt(_messages(build(lot))) for lot in lots) / recipe.per_call,
            fmean(server.text(_answer(run.scale, recipe, turn)) for turn in range(8)) / recipe.per_call,
        ),
    )


def _answer(scale: Rubric, recipe: Recipe, turn: int) -> str:
    """A reply as long as the rubric's worked examples are."""
    examples = [scale.examples[(turn + i) % len(scale.examples)] for i in range(recipe.per_call)]
    answers = [single_grade.expected_answer(example, recipe.ask) for example in examples]
    if recipe.per_call == 1:
        return json.dumps(answers[0])
    return json.dumps({str(i): a if recipe.ask == "reason" else a["grade"] for i, a in enumerate(answers, 1)})


def _explaining(run: Done, unit: Unit, window: int) -> Prompt:
    exemplars = run.exemplars[unit.unit_id]
    quiet = [e for e in exemplars if e.role == "explain_quiet"][: Explain().quiet]
    shown = [_cut(e, window) for e in exemplars if e.role != "explain_quiet" or e in quiet]
    return explanation_prompt.prompt(run.scale, explanation_prompt.material(shown, unit.max_activation), 1024)


def _messages(prompt: Prompt) -> list[Message]:
    return [{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}]


def _window(exemplar: Exemplar, tokens: int) -> MarkedText:
    return _cut(exemplar, tokens).marked_text


def _cut(exemplar: Exemplar, tokens: int) -> Exemplar:
    """The exemplar in a window of so many tokens, its mark as far along as it was."""
    if len(exemplar.tokens) <= tokens:
        return exemplar
    start = round(exemplar.mark / len(exemplar.tokens) * (len(exemplar.tokens) - tokens))
    part = slice(start, start + tokens)
    return replace(
        exemplar,
        mark=exemplar.mark - start,
        tokens=exemplar.tokens[part],
        token_activations=exemplar.token_activations[part],
    )


# delphi


def delphi_messages(run: Done, some: Sequence[Unit]) -> list[dict[str, list[list[Message]]]]:
    """What delphi sends for these units, by its own code."""
    from tests.support.sae import peers

    units = [_as_delphi_has(run.exemplars[unit.unit_id], run.explanations[unit.unit_id]) for unit in some]
    path = os.pathsep.join((str(peers.install("delphi")), str(peers.PINS)))
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "units.json"
        given.write_text(json.dumps(units))
        command = [sys.executable, str(ROOT / "tests" / "benchmarks" / "delphi_prompts.py"), str(given)]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path})
    if done.returncode:
        sys.exit(done.stderr)
    return list(json.loads(done.stdout))


def _as_delphi_has(exemplars: Sequence[Exemplar], explanation: str) -> dict[str, Any]:
    active = [_cut(e, WINDOW) for e in exemplars if e.activation > 0]
    silent = [e for e in (_cut(e, WINDOW) for e in exemplars) if not any(e.token_activations)]
    random.Random(0).shuffle(active)
    shown = list(itertools.islice(itertools.cycle(active), TRAIN + TEST))
    quiet = list(itertools.islice(itertools.cycle(silent or active), QUIET))
    rows = [{"tokens": list(e.tokens), "activations": list(e.token_activations)} for e in shown]
    zeros = [{"tokens": list(e.tokens), "activations": [0.0] * len(e.tokens)} for e in quiet]
    return {"train": rows[:TRAIN], "test": rows[TRAIN:], "quiet": zeros, "explanation": explanation}


def delphi_cost(server: Server, theirs: Sequence[dict[str, list[list[Message]]]], n: int) -> tuple[float, float, float]:
    """Calls, prompt and output tokens a unit."""
    asked = [messages for unit in theirs for kind in unit.values() for messages in kind]
    prompt = sum(map(server.prompt, asked)) / n
    answer, explanation = server.text("[0, 1, 0, 0, 1]"), server.text(f"[EXPLANATION]: {EXPLANATION}")
    return len(asked) / n, prompt, explanation + (len(asked) / n - 1) * answer


if __name__ == "__main__":
    main()
