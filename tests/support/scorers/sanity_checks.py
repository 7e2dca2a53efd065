"""Does a figure notice that an explanation covers half of what it should, or twice as much? The tests of *Evaluating Neuron Explanations*.

    python tests/sanity.py      the rows of the table in docs/scorers.md

A unit is planted whose true explanation labels exactly the tokens at which it is active. The *missing labels* test takes half of the
labels away, the *extra labels* test adds as many as there are to other tokens of the corpus. The judge says of any token what the labels
say, so whatever a figure fails to notice is the figure's own doing. A figure passes when it falls by more than `LEAST` in at least `SHARE` of
the units, extra labels being those of a unit that is active at 1% of tokens.

Extra labels lie where the corpus has tokens: almost all where the unit is silent. How many of them a scorer meets depends on the unit's
density and on how many silent windows are shown, so three settings of those are measured.
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
UNITS, ACTIVE, QUIET = 60, 50, 50
EXTRA = ((0.01, QUIET), (0.001, QUIET), (0.001, 5))
"""Densities, and silent windows shown."""


class Sanity(NamedTuple):
    """Shares of units in which a figure falls: with half of the labels missing, and with as many extra in each of `EXTRA`."""

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
    """The embedding scorer's figures, were its likeness the share of labelled tokens."""
    windows = [(e, True) for e in unit.active] + [(e, False) for e in unit.quiet]
    likeness = [len(labels.intersection(e.tokens)) / len(e.tokens) for e, _ in windows]
    truth = [truth for _, truth in windows]
    return {"auroc": answer_metrics.auroc(truth, likeness), "auprc": answer_metrics.auprc(truth, likeness)}


def rubric(unit: Case, labels: Labels) -> Figures:
    """The rubric's mean grade, 3 for a labelled mark and else 0, alone and less the base rate of silent windows; as shares of 3."""
    main = [float(e.tokens[e.mark] in labels) for e in unit.active]
    silent = [float(e.tokens[e.mark] in labels) for e in unit.quiet]
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
        unit = case(ACTIVE, QUIET, seed=rng.randrange(2**31), length=48, most=1)
        labels = active_tokens(unit)
        kept = frozenset(t for t in sorted(labels) if rng.random() < 0.5)
        tests = [(unit, kept)]
        for density, quiet in EXTRA:
            fewer = replace(unit, quiet=unit.quiet[:quiet])
            tests.append((fewer, labels | _scattered(fewer, density, rng)))
        pairs = [(figures(shown, labels), figures(shown, other)) for shown, other in tests]
        for name in pairs[0][0]:
            falls.setdefault(name, []).append([_falls(whole[name], other[name]) for whole, other in pairs])
    shares = {name: [sum(column) / UNITS for column in zip(*rows, strict=True)] for name, rows in falls.items()}
    return {name: Sanity(share[0], tuple(share[1:])) for name, share in shares.items()}


def _falls(best: float | None, other: float | None) -> bool:
    assert best is not None
    return other is not None and best - other > LEAST


def _scattered(unit: Case, density: float, rng: random.Random) -> Labels:
    """Labels at this share of the tokens at which the unit rests: as many in the corpus as it has active tokens there."""
    resting = (
        t for e in (*unit.active, *unit.quiet) for t, a in zip(e.tokens, e.token_activations, strict=True) if not a
    )
    return frozenset(t for t in resting if rng.random() < density)


def every() -> dict[tuple[str, str], Sanity]:
    """Both tests of every figure of every evaluation, by their names."""
    return {(e, name): found for e, figures in EVALUATIONS.items() for name, found in sanity(figures).items()}


def row(evaluation: str, figure: str, found: Sanity) -> str:
    """A row of the table: how often the figure falls, and which tests it passes."""
    shares = " | ".join(f"{share:.0%}" for share in (found.missing, *found.extra))
    return f"| {evaluation} | `{figure}` | {shares} | {found.verdict} |"


if __name__ == "__main__":
    print("\n".join(row(*names, found) for names, found in every().items()))
