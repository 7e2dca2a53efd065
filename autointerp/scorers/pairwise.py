"""Base of scorers that show a window of the unit and a foil, and ask the judge which of two options is the unit's.

The unit's option is number 1 and number 2 in turn, so that a judge which always gives the same number scores 0.5.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from autointerp.records import Exemplar
from autointerp.scorers.base import Case, Question, Scorer, Scores, StepAnswers
from autointerp.scorers.window_choice import step_results

SHOWN = 5
"""The unit's strongest windows, shown in every question as examples and never asked about."""
MOST = 8
"""Questions per unit."""


class Pair(NamedTuple):
    """A window of the unit, and the windows that the other option is made of."""

    window: Exemplar
    foil: tuple[Exemplar, ...]
    near: bool = False
    """Whether the foil is of the unit with the nearest decoder direction."""


class Hit(NamedTuple):
    """A pair that was answered."""

    correct: float
    """1.0 if the judge was right, else 0.0."""
    activation: float
    """The unit's activation in its own text or window."""
    near: bool = False
    """Whether the foil is of the unit with the nearest decoder direction."""


class Pairwise(Scorer):
    """Asks one two-option question per pair. Figures of the same name mean the same for every subclass."""

    needs_explanation = False
    chance = 0.5

    @abstractmethod
    def pairs(self, case: Case) -> list[Pair]:
        """The pairs of a case; none if it has too few windows."""

    @abstractmethod
    def not_asked(self, case: Case) -> str:
        """Why a case has no pairs."""

    @abstractmethod
    def question(self, case: Case, pair: Pair, swapped: bool) -> Question:
        """The question about a pair. The unit's option is number 1, or number 2 if `swapped`."""

    def questions(self, case: Case, step: int, answers: StepAnswers) -> Sequence[Question]:
        """One question per pair."""
        return [self.question(case, pair, is_swapped(case, n)) for n, pair in enumerate(self.pairs(case))]

    def score(self, case: Case, answers: StepAnswers) -> Scores:
        """Accuracies over the pairs that were answered."""
        pairs = self.pairs(case)
        results = step_results(answers, 0, len(pairs))
        hits = [
            Hit(float(answer == 1 + is_swapped(case, n)), pair.window.activation, pair.near)
            for n, (pair, answer) in enumerate(zip(pairs, results, strict=True))
            if answer is not None
        ]
        values = accuracies(hits)
        why = "none of the pairs is of this kind" if pairs else self.not_asked(case)
        return Scores({name: values[name] for name in self.figures}, len(hits), results.count(None), why)


def accuracies(hits: Sequence[Hit]) -> dict[str, float | None]:
    """Accuracy over all pairs, over those with a near foil, and weighted by the unit's activation."""
    near = [hit.correct for hit in hits if hit.near]
    weight = sum(hit.activation for hit in hits)
    weighted = sum(hit.activation * hit.correct for hit in hits)
    return {
        "accuracy": fmean(hit.correct for hit in hits) if hits else None,
        "accuracy_near": fmean(near) if near else None,
        "accuracy_weighted": weighted / weight if weight else None,
    }


def is_swapped(case: Case, number: int) -> bool:
    """Whether the unit's option is number 2: in every other question, starting from either by the unit's seed."""
    return bool((case.seed + number) % 2)
