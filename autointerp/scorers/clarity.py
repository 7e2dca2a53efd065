"""Clarity: does the unit tell texts that the judge writes to its explanation from ordinary ones?

FADE's definition with three defects mended. FADE's figure is |2 AUROC - 1|, which gives a unit that is silent on the concept alone the
same score as one that is active on it alone: the compared figure here keeps its sign, and FADE's is reported beside it. FADE may read
ordinary texts from their first token, where subjects without BOS have activations of meaningless norm; here that token does not
count. And both kinds of text are read in the same way: alone and from the beginning, a text's value being the unit's largest
activation in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from autointerp.scorers.base import Case, Question, ReadText, Scorer, Scores, SteerText, StepAnswers
from autointerp.scorers.common_questions import writing
from autointerp.scorers.window_choice import peak, step_results, windows_of_others
from autointerp.stats.answer_metrics import separation

KINDS = ("Short sentences.", "Longer and unusual ones.")
"""Two questions ask for two kinds of text; FADE asks the same question 15 times."""
WRITTEN = 10
"""Texts per question."""
NATURAL = 40
"""Ordinary texts: windows drawn for other units, so that nothing selects for what this unit does in them."""


class Clarity(Scorer):
    """Measures whether the unit responds to texts written to its explanation."""

    name = "clarity"
    source = "FADE, 2025 (arXiv 2502.16994), clarity; fade-language 0.1.2"
    needs_explanation = True
    steps = ("ask", "run")
    figures: ClassVar[Mapping[str, str]] = {
        "clarity": "2 AUROC - 1 of written against ordinary texts: 1 if every written one is stronger, 0 at chance, negative if weaker",
        "clarity_fade": "its absolute value, as in FADE: a unit that is silent on the concept alone also scores high",
    }
    chance = 0.0

    def questions(self, case: Case, step: int, answers: StepAnswers) -> Sequence[Question]:
        """Two questions for ten texts each. None without ordinary texts to compare with."""
        if not case.explanation or not self._natural(case):
            return []
        return [writing(case.explanation, (), WRITTEN, kind) for kind in KINDS]

    def subject_tasks(self, case: Case, step: int, answers: StepAnswers) -> Sequence[ReadText | SteerText]:
        """The written texts, then the ordinary ones. None if no text was written."""
        written = _written(answers)
        return [ReadText(text) for text in written + self._natural(case)] if written else []

    def score(self, case: Case, answers: StepAnswers) -> Scores:
        """Figures over the texts that were read; a question that returned no texts counts as one unscored answer."""
        written, natural = _written(answers), self._natural(case)
        n_questions = len(self.questions(case, 0, ()))
        failed = step_results(answers, 0, n_questions).count(None)
        texts = written + natural if written else []
        peaks = [peak(activations) for activations in step_results(answers, 1, len(texts))]
        known = [(n < len(written), p) for n, p in enumerate(peaks) if p is not None]
        value = separation([is_written for is_written, _ in known], [p for _, p in known])
        values = {"clarity": value, "clarity_fade": None if value is None else abs(value)}
        why = (
            "only written or only ordinary texts were read"
            if natural
            else "no ordinary text: no window of another unit"
        )
        return Scores(values, len(known), failed + len(peaks) - len(known), why)

    def _natural(self, case: Case) -> list[str]:
        return [window.text for window in windows_of_others(case, NATURAL, self.name)]


def _written(answers: StepAnswers) -> list[str]:
    """The distinct texts that the judge wrote, in order."""
    return list(dict.fromkeys(text for texts in step_results(answers, 0, len(KINDS)) if texts for text in texts))
