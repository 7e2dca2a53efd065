"""The paper's check of attribution on a real model: does gradient times activation tell the effect of ablation, and activation not?

    logits        difference of logits between the token and the other
    pairs         ablated pairs of a feature and a position after the first token, one pass each
    attribution   Pearson correlation of attribution with the effect of ablation (the paper: about 0.8)
    activation    the same for activation (the paper: 0.12)
    top 10        of the 10 largest by attribution, and by activation, those among the 10 with the largest effects (the paper: 8 and 3)
    CPU s         user seconds of this process: gradients and ablation of all pairs

Run with `python tests/benchmarks/attribution.py MODEL DICTIONARY [--hook-point NAME] [--ablations N] [--prompts N]`. Without
`--ablations` all active pairs are ablated, as in the paper; with it, the N that `autointerp attribute --ablations N` chooses.
"""

from __future__ import annotations

import argparse
import resource
from collections.abc import Iterator
from statistics import fmean

from autointerp.studies.attribution import agreement, tables
from autointerp.studies.attribution.agreement import Agreement
from autointerp.studies.workbench import Studied
from sae.dictionary import Dictionary
from sae.formats.load import load_dictionary
from sae.studies.attribution.ablation import Place, differences_without
from sae.studies.attribution.gradients import LogitDifference, total_gradients
from sae.studies.attribution.prompt import prompt_ids, token_id
from sae.studies.attribution.splicing import check_attributable
from sae.subject.model import Subject, load_subject

PROMPTS = (
    ('John says, "I want to be alone right now." John feels', " sad", " happy"),
    ("Fact: The capital of the state where Kobe Bryant played basketball is", " Sacramento", " Albany"),
    ("Fact: The capital of the country where the Eiffel Tower stands is", " Paris", " London"),
    ('Mary says, "I just won the first prize!" Mary feels', " happy", " sad"),
    ("In the winter it snows, and the weather outside is very", " cold", " hot"),
    ("The doctor looked at the X-ray and saw that the leg was", " broken", " green"),
)
"""Prompts with a token and another one: the paper's two, and others of the same kinds that a small model can answer."""


def measure(
    subject: Subject, dictionary: Dictionary, prompt: str, target: str, against: str, ablations: int | None
) -> tuple[float, Agreement]:
    """The difference of logits, and how attribution and activation agree with ablation."""
    ids = prompt_ids(subject, prompt)
    difference = LogitDifference(token_id(subject, target), token_id(subject, against))
    totals = total_gradients(subject, [dictionary], ids, difference)
    names = tables.Names([Studied("dictionary", dictionary)], tables.token_names(subject, ids), target)
    pairs = tables.pairs(names, totals)
    chosen = pairs if ablations is None else agreement.chosen(pairs, ablations)
    places = zip(chosen["position"].tolist(), chosen["feature"].tolist(), strict=True)
    groups = [[Place(0, position, feature)] for position, feature in places]
    effects = totals.value - differences_without(subject, totals, groups).numpy()
    return totals.value, agreement.of(chosen.assign(ablation=effects), len(pairs))


def rows(subject: Subject, dictionary: Dictionary, n_prompts: int, ablations: int | None) -> Iterator[list[str]]:
    """A row for each prompt, and one of means."""
    found = []
    for prompt, target, against in PROMPTS[:n_prompts]:
        before = _cpu()
        value, figures = measure(subject, dictionary, prompt, target, against, ablations)
        found.append(figures)
        yield [
            f"{prompt} [{target.strip()} / {against.strip()}]",
            f"{value:.2f}",
            *_cells(figures),
            f"{_cpu() - before:.0f}",
        ]
    yield [
        "mean", "", "",
        _mean([f.attribution_ablation for f in found]), _mean([f.activation_ablation for f in found]),
        f"{fmean(f.top_attribution for f in found):.1f}", f"{fmean(f.top_activation for f in found):.1f}", "",
    ]  # fmt: skip


def _cells(f: Agreement) -> list[str]:
    correlations = [_mean([f.attribution_ablation]), _mean([f.activation_ablation])]
    return [f"{f.ablated:,} of {f.active:,}", *correlations, str(f.top_attribution), str(f.top_activation)]


def _mean(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{fmean(known):.2f}" if known else "-"


def _cpu() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("dictionary")
    parser.add_argument("--hook-point")
    parser.add_argument("--ablations", type=int)
    parser.add_argument("--prompts", type=int, default=len(PROMPTS))
    given = parser.parse_args()
    subject, dictionary = load_subject(given.model), load_dictionary(given.dictionary, hook_point=given.hook_point)
    subject = subject.with_bos(None, dictionary.trained_with_bos)
    check_attributable(dictionary)
    header = [
        "prompt",
        "logits",
        "pairs",
        "attribution",
        "activation",
        "top 10 by attribution",
        "by activation",
        "CPU s",
    ]
    print(f"| {' | '.join(header)} |\n|{' --- |' * len(header)}", flush=True)
    for row in rows(subject, dictionary.to(subject.device), given.prompts, given.ablations):
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
