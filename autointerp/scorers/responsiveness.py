"""Responsiveness and purity: the judge rates ordinary texts by the explanation. Does the unit's activation follow the ratings?

FADE's definitions with defects mended. Texts rated 1 are left out, as in FADE. Responsiveness keeps its sign, and FADE's absolute
value is reported beside it. Without texts of both ratings FADE ends in an error; here the figures are undefined. Purity is an average
precision, whose value at chance is the share of texts rated 2: that share is reported too, and purity above it. FADE negates a
unit's activations before it computes purity if they are lower on the concept; here they keep their sign.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import ClassVar

from autointerp.scorers.base import Case, Question, ReadText, Scorer, Scores, SteerText, StepAnswers
from autointerp.scorers.common_questions import joined_ratings, ratings
from autointerp.scorers.window_choice import evenly_spaced, peak, step_results, strongest_first, windows_of_others
from autointerp.stats.answer_metrics import auprc, separation

ACTIVE, SILENT, NATURAL = 20, 10, 20
"""Texts of each origin: windows of the unit, from its strongest to its weakest; its silent windows; windows of other units.
FADE rates 500, a tenth of them the strongest and the rest from four ranges of activation."""
PER_CALL = 10
"""Texts in one question."""


class Responsiveness(Scorer):
    """Measures whether the unit is stronger on ordinary texts that express the explanation than on those that do not."""

    name = "responsiveness"
    source = "FADE, 2025 (arXiv 2502.16994), responsiveness and purity; fade-language 0.1.2"
    needs_explanation = True
    steps = ("run", "ask")
    figures: ClassVar[Mapping[str, str]] = {
        "responsiveness": "2 AUROC - 1 of texts rated 2 against those rated 0: 1 if all are stronger, 0 at chance, negative if weaker",
        "responsiveness_fade": "its absolute value, as in FADE",
        "purity": "average precision of activation in telling texts rated 2 from those rated 0; at chance the concept's share",
        "purity_fade": "the same with negated activation if responsiveness is negative, as in FADE",
        "purity_above_chance": "purity rescaled from 0 at chance to 1",
        "concept_share": "texts rated 2 among those rated 2 or 0: not a score, but what purity is compared with",
    }
    chance = 0.0

    def subject_tasks(self, case: Case, step: int, answers: StepAnswers) -> Sequence[ReadText | SteerText]:
        """All texts, each read on its own, as the judge sees them."""
        return [ReadText(text) for text in self._texts(case)]

    def questions(self, case: Case, step: int, answers: StepAnswers) -> Sequence[Question]:
        """Ten texts per question."""
        return ratings(case.explanation, self._texts(case), PER_CALL) if case.explanation else []

    def score(self, case: Case, answers: StepAnswers) -> Scores:
        """Figures over the texts that were both read and rated."""
        texts = self._texts(case) if case.explanation else []
        peaks = [peak(activations) for activations in step_results(answers, 0, len(texts))]
        rated = joined_ratings(step_results(answers, 1, -(-len(texts) // PER_CALL)), len(texts), PER_CALL)
        known = [(rating, p) for rating, p in zip(rated, peaks, strict=True) if rating is not None and p is not None]
        return Scores(figures_of(known), len(known), len(texts) - len(known), _why([rating for rating, _ in known]))

    def _texts(self, case: Case) -> list[str]:
        windows = [
            *evenly_spaced(strongest_first(case.active), ACTIVE),
            *case.silent[:SILENT],
            *windows_of_others(case, NATURAL, self.name),
        ]
        texts = list(dict.fromkeys(window.text for window in windows))
        case.rng(self.name).shuffle(texts)
        return texts


def _why(rated: Sequence[int]) -> str:
    """Why figures are undefined that need texts rated 2 and texts rated 0."""
    missing = [f"no text is rated {rating}" for rating in (2, 0) if rating not in rated]
    return " and ".join(missing) if rated else "no text could be read and rated"


def figures_of(rated: Sequence[tuple[int, float]]) -> dict[str, float | None]:
    """All figures, from pairs of a rating (0 to 2) and an activation."""
    clear = [(rating == 2, activation) for rating, activation in rated if rating != 1]
    concept, activations = [c for c, _ in clear], [a for _, a in clear]
    value, purity = separation(concept, activations), auprc(concept, activations)
    share = fmean(concept) if concept else None
    is_inverted = value is not None and value < 0
    return {
        "responsiveness": value,
        "responsiveness_fade": None if value is None else abs(value),
        "purity": purity,
        "purity_fade": auprc(concept, [-a for a in activations]) if is_inverted else purity,
        "purity_above_chance": None if purity is None or share is None else (purity - share) / (1 - share),
        "concept_share": share,
    }
