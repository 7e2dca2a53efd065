"""The sanity checks of *Evaluating Neuron Explanations*: does a figure fall if an explanation covers half of what it should, or too much?

    PYTHONPATH=tests python -m support.scorers.sanity_checks      print the rows of the table in docs/scorers.md

A unit is planted whose true explanation labels exactly the tokens at which it is active. The *missing labels* test takes half of the
labels away, the *extra labels* test adds as many as there are to other tokens of the corpus. The judge answers exactly by the labels,
so that a change which goes unnoticed is the figure's fault. A figure passes if it falls by more than `LEAST` in at least `SHARE` of
the units, with extra labels for a unit that is active at 1% of tokens.

Extra labels fall on tokens in proportion to the corpus, so almost all are where the unit is silent. How many of them a scorer sees depends on
the unit's density and on the number of silent windows shown, so three settings of those are measured.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

from support.scorers.scripted_judge import active_tokens, case, judged, labelled

from autointerp.scorers.base import Case
from autointerp.scorers.registry import SCORERS
from autointerp.stats import answer_metrics

Labels = frozenset[str]
Figures = Mapping[str, float | None]
LEAST, SHARE = 0.005, 0.9
UNITS, ACTIVE, SILENT = 60, 50, 50
EXTRA = ((0.01, SILENT), (0.001, SILENT), (0.001, 5))
"""Densities, and silent windows shown."""


class Sanity(NamedTuple):
    """Shares of units in which a figure falls: with half of the labels missing, and with extra ones in each setting of `EXTRA`."""

    missing: float
    extra: tuple[float, ...]

    @property
    def verdict(self) -> str:
        """Which of the two tests it passes."""
        passed = self.missing >= SHARE, self.extra[0] >= SHARE
        return {(True, True): "passes", (False, True): "fails missing", (True, False): "fails extra"}.get(
            passed, "fails both"
        )


def by_scorer(name: str) -> Callable[[Case, Labels], Figures]:
    """A scorer's figures when its judge knows these labels."""
    return lambda unit, labels: judged(SCORERS[name], unit, labelled(labels)).values


def embedding(unit: Case, labels: Labels) -> Figures:
    """The embedding scorer's figures, with the share of labelled tokens as similarity."""
    windows = [(e, True) for e in unit.active] + [(e, False) for e in unit.silent]
    similarity = [len(labels.intersection(e.tokens)) / len(e.tokens) for e, _ in windows]
    truth = [truth for _, truth in windows]
    return {"auroc": answer_metrics.auroc(truth, similarity), "auprc": answer_metrics.auprc(truth, similarity)}


def rubric(unit: Case, labels: Labels) -> Figures:
    """The rubric's mean grade as a share of 3, alone and minus that of silent windows. A labelled mark has grade 3, any other 0."""
    main = [float(e.tokens[e.mark] in labels) for e in unit.active]
    silent = [float(e.tokens[e.mark] in labels) for e in unit.silent]
    mean = sum(main) / len(main)
    return {"mean_score": mean, "less_base_rate": mean - sum(silent) / len(silent)}


EVALUATIONS: Mapping[str, Callable[[Case, Labels], Figures]] = {
    "rubric": rubric,
    "detection": by_scorer("detection"),
    "fuzzing": by_scorer("fuzzing"),
    "simulation": by_scorer("simulation"),
    "embedding": embedding,
}


def sanity(figures: Callable[[Case, Labels], Figures]) -> dict[str, Sanity]:
    """Both tests of every figure, over `UNITS` planted units."""
    falls: dict[str, list[list[bool]]] = {}
    for number in range(UNITS):
        rng = random.Random(number)
        unit = case(ACTIVE, SILENT, seed=rng.randrange(2**31), length=48, most=1)
        labels = active_tokens(unit)
        kept = frozenset(t for t in sorted(labels) if rng.random() < 0.5)
        tests = [(unit, kept)]
        for density, n_silent in EXTRA:
            fewer = replace(unit, silent=unit.silent[:n_silent])
            tests.append((fewer, labels | _scattered(fewer, density, rng)))
        # The figures of the right labels, once for each number of silent windows.
        whole = {len(shown.silent): figures(shown, labels) for shown in {len(c.silent): c for c, _ in tests}.values()}
        pairs = [(whole[len(shown.silent)], figures(shown, other)) for shown, other in tests]
        for name in pairs[0][0]:
            falls.setdefault(name, []).append([_falls(right[name], wrong[name]) for right, wrong in pairs])
    shares = {name: [sum(column) / UNITS for column in zip(*rows, strict=True)] for name, rows in falls.items()}
    return {name: Sanity(share[0], tuple(share[1:])) for name, share in shares.items()}


def _falls(best: float | None, other: float | None) -> bool:
    assert best is not None
    return other is not None and best - other > LEAST


def _scattered(unit: Case, density: float, rng: random.Random) -> Labels:
    """Labels on this share of the silent tokens: as many in the whole corpus as the unit has active tokens."""
    silent = (
        t for e in (*unit.active, *unit.silent) for t, a in zip(e.tokens, e.token_activations, strict=True) if not a
    )
    return frozenset(t for t in silent if rng.random() < density)


def every() -> dict[tuple[str, str], Sanity]:
    """Both tests of every figure of every evaluation, by their names."""
    return {(e, name): found for e, figures in EVALUATIONS.items() for name, found in sanity(figures).items()}


def row(evaluation: str, figure: str, found: Sanity) -> str:
    """A row of the table: how often the figure falls, and which tests it passes."""
    shares = " | ".join(f"{share:.0%}" for share in (found.missing, *found.extra))
    return f"| {evaluation} | `{figure}` | {shares} | {found.verdict} |"


if __name__ == "__main__":
    print("\n".join(row(*names, found) for names, found in every().items()))
