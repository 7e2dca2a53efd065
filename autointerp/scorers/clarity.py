"""Clarity: the judge writes texts that hold what the explanation says. Does the unit tell them from ordinary ones?

FADE's definition with three defects mended. Its figure is |2 AUROC - 1|, so that a unit which is active everywhere but on the
concept does as well as a right one: the figure compared here keeps its sign, and FADE's stands beside it. Its ordinary texts may be
read from the first token, where subjects without BOS hold norms that mean nothing; here that token does not count. And both kinds of
text are read alike: alone, from their beginning, a text's value being the unit's largest activation in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from autointerp.scorers.base import Brought, Case, Question, Read, Scores, Steer
from autointerp.scorers.common_questions import text_of, writing
from autointerp.scorers.window_choice import answers, of_others, peak
from autointerp.stats.answer_metrics import separation

PARTS = ("Short sentences.", "Longer and unusual ones.")
"""Two questions ask for texts of two kinds; FADE asks the same question 15 times."""
WRITTEN = 10
"""Texts a question."""
NATURAL = 40
"""Ordinary texts: windows drawn for other units, by which nobody chose what this unit does in them."""


class Clarity:
    """Does the unit respond to texts written to its explanation?"""

    name = "clarity"
    source = "FADE, 2025 (arXiv 2502.16994), clarity; fade-language 0.1.2"
    needs_explanation = True
    steps: tuple[Literal["ask", "run"], ...] = ("ask", "run")
    figures: Mapping[str, str] = {
        "clarity": "2 AUROC - 1 of written against ordinary texts: 1 where every written one is stronger, 0 by chance, -1 if weaker",
        "clarity_fade": "its absolute value, as FADE has it: a unit silent on the concept alone does well too",
    }
    chance: float | None = 0.0

    def questions(self, case: Case, step: int, brought: Brought) -> Sequence[Question]:
        """Two, each for ten texts. None without ordinary texts to compare with."""
        if not case.explanation or not self._natural(case):
            return []
        return [writing(case.explanation, (), WRITTEN, part) for part in PARTS]

    def work(self, case: Case, step: int, brought: Brought) -> Sequence[Read | Steer]:
        """The written texts and then the ordinary ones. Nothing where nothing was written."""
        written = _written(brought)
        return [Read(text) for text in written + self._natural(case)] if written else []

    def score(self, case: Case, brought: Brought) -> Scores:
        """Figures over the texts that were read; a question that brought none is unscored."""
        written, natural = _written(brought), self._natural(case)
        asked = self.questions(case, 0, ())
        failed = answers(brought, 0, len(asked)).count(None)
        texts = written + natural if written else []
        peaks = [peak(seen) for seen in answers(brought, 1, len(texts))]
        known = [(n < len(written), p) for n, p in enumerate(peaks) if p is not None]
        found = separation([of_concept for of_concept, _ in known], [p for _, p in known])
        values = {"clarity": found, "clarity_fade": None if found is None else abs(found)}
        return Scores(values, len(known), failed + len(peaks) - len(known))

    def _natural(self, case: Case) -> list[str]:
        return [text_of(window) for window in of_others(case, NATURAL, self.name)]


def _written(brought: Brought) -> list[str]:
    """Distinct texts that the judge wrote, in order."""
    return list(dict.fromkeys(text for texts in answers(brought, 0, len(PARTS)) if texts for text in texts))
