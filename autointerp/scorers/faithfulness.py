"""Faithfulness: the subject continues ordinary texts while the unit is clamped at several strengths. Does it then express the concept?

FADE's definition: the largest share of continuations rated 2 at any strength, minus the share at strength 0, divided by what was left to
gain. Two mends. The largest of several noisy shares is biased upwards, the more so the fewer the texts, so the compared figure chooses
the strength on one half of the texts and measures on the other, both ways; FADE's own is reported beside it. And if all continuations
express the concept at strength 0, the figure is undefined instead of a division by zero. What differs: neurons are clamped at multiples
of their maximum, as features are (`sae.analysis.steering`), whereas FADE multiplies their activation; every unit is evaluated, not only
those with clarity and responsiveness of 0.5; and there are ten texts per strength instead of 50.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import ClassVar

from autointerp.scorers.base import Case, Question, ReadText, Scorer, Scores, SteerText, StepAnswers
from autointerp.scorers.common_questions import joined_ratings, ratings
from autointerp.scorers.window_choice import step_results, windows_of_others

FACTORS = (-50.0, -10.0, -1.0, 0.0, 1.0, 10.0, 50.0)
"""FADE's strengths, in multiples of the unit's maximum."""
TEXTS, TOKENS = 10, 30
"""Texts that are continued at each strength, and tokens of each continuation."""
PER_CALL = 10
"""Continuations in one question."""

RatingTable = Mapping[float, Sequence[int | None]]
"""For each factor, the rating of each text's continuation; None if it has none."""


class Faithfulness(Scorer):
    """Measures whether the unit makes the subject say what its explanation says."""

    name = "faithfulness"
    source = "FADE, 2025 (arXiv 2502.16994), faithfulness; fade-language 0.1.2"
    needs_explanation = True
    steps = ("run", "ask")
    figures: ClassVar[Mapping[str, str]] = {
        "faithfulness": "gain in continuations rated 2, as a share of the possible gain, at the strength chosen on other texts",
        "faithfulness_fade": "the same at the strength that is best on these texts, as in FADE: biased upwards",
        "best_factor": "the strength that is best on these texts, in multiples of the unit's maximum: not a score",
    }
    chance = 0.0

    def subject_tasks(self, case: Case, step: int, answers: StepAnswers) -> Sequence[ReadText | SteerText]:
        """Every text at every strength."""
        texts = self._texts(case) if case.explanation else []
        return [SteerText(text, factor, TOKENS) for factor in FACTORS for text in texts]

    def questions(self, case: Case, step: int, answers: StepAnswers) -> Sequence[Question]:
        """Ten continuations per question, of all strengths mixed."""
        return ratings(case.explanation, [text for _, text in self._continuations(case, answers)], PER_CALL)

    def score(self, case: Case, answers: StepAnswers) -> Scores:
        """Figures over the continuations that were rated."""
        n_tasks, continuations = len(self.subject_tasks(case, 0, ())), self._continuations(case, answers)
        n_questions = -(-len(continuations) // PER_CALL)
        rated = joined_ratings(step_results(answers, 1, n_questions), len(continuations), PER_CALL)
        by_task = {task: rating for (task, _), rating in zip(continuations, rated, strict=True)}
        n_texts = n_tasks // len(FACTORS)
        table = {f: [by_task.get(i * n_texts + text) for text in range(n_texts)] for i, f in enumerate(FACTORS)}
        n = sum(rating is not None for rating in rated)
        return Scores(
            figures_of(table), n, n_tasks - n, _why(table) if n_texts else "no window of another unit to continue"
        )

    def _continuations(self, case: Case, answers: StepAnswers) -> list[tuple[int, str]]:
        """The non-empty continuations, shuffled, each with the number of its task."""
        texts = step_results(answers, 0, len(self.subject_tasks(case, 0, ())))
        continuations = [(task, text) for task, text in enumerate(texts) if text]
        case.rng(self.name).shuffle(continuations)
        return continuations

    def _texts(self, case: Case) -> list[str]:
        """Windows of other units, which are ordinary text for this one."""
        texts = (window.text for window in windows_of_others(case, 2 * TEXTS, self.name))
        return list(dict.fromkeys(text for text in texts if text.strip()))[:TEXTS]


def figures_of(table: RatingTable) -> dict[str, float | None]:
    """All figures, from the ratings at each factor. `table` contains factor 0."""
    base, best = _share(table[0.0]), _best(table)
    if base is None or base == 1 or best is None:
        return {"faithfulness": None, "faithfulness_fade": None, "best_factor": None}
    # Cross-fitting: each half is measured at the factor that the other half chose.
    halves = [{factor: row[part::2] for factor, row in table.items()} for part in (0, 1)]
    chosen = reversed([_best(half) for half in halves])
    gains = [gain for half, factor in zip(halves, chosen, strict=True) if (gain := _gain(half, factor)) is not None]
    best_gain = _gain(table, best) or 0.0
    return {
        "faithfulness": fmean(gains) / (1 - base) if gains else None,
        "faithfulness_fade": best_gain / (1 - base),
        "best_factor": best if best_gain > 0 else None,
    }


def _why(table: RatingTable) -> Mapping[str, str] | str:
    """Why figures are undefined, if they are."""
    base = _share(table[0.0])
    if base is None:
        return "no continuation at strength 0 was rated"
    if base == 1:
        return "all continuations at strength 0 are rated 2: nothing is left to gain"
    return {
        "faithfulness": "too few continuations were rated to choose the strength on other texts",
        "best_factor": "no strength has more continuations rated 2 than strength 0",
    }


def _best(table: RatingTable) -> float | None:
    """The factor with the largest share of 2, the smallest factor among equals; None if nothing is rated."""
    shares = {factor: share for factor, row in table.items() if (share := _share(row)) is not None}
    return max(shares, key=lambda factor: (shares[factor], -abs(factor), factor), default=None)


def _gain(table: RatingTable, factor: float | None) -> float | None:
    """The share of 2 at `factor` minus that at 0; None if either is unknown."""
    base, share = _share(table[0.0]), None if factor is None else _share(table[factor])
    return None if base is None or share is None else share - base


def _share(row: Sequence[int | None]) -> float | None:
    """The share of 2 among the ratings; None if there are none."""
    known = [rating == 2 for rating in row if rating is not None]
    return fmean(known) if known else None
