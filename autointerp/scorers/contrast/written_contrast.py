"""Contrastive over written pairs: in which of two texts that differ in one concept is the unit active?

As in the source: pairs of texts that are alike except for one concept are read by the subject, the same ones for every unit and
dictionary; a unit is asked about on the pairs in which it is active on one side only; the judge sees its strongest windows and one text
of each side. The source's pairs are not published: `concept_pairs.toml` has ones written for this purpose. What differs besides:
each side has two texts, of which the stronger one is shown with its counterpart; active means a fifth of the unit's maximum, and silent
less than a tenth, where the source takes any activation above 0, which a neuron reaches on nearly every text; and of many pairs
a unit is asked about at most eight, from its strongest to its weakest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

from autointerp.scorers.base import Case, Question, ReadPeaks, ReadText, Scorer, Scores, Shape, SteerText, StepAnswers
from autointerp.scorers.contrast.concept_pairs import concept_pairs, texts
from autointerp.scorers.contrast.contrastive import two_texts
from autointerp.scorers.pairwise import MOST, SHOWN, Hit, accuracies, is_swapped
from autointerp.scorers.window_choice import evenly_spaced, step_results

ACTIVE, SILENT = 0.2, 0.1
"""Shares of the unit's maximum: on one side of a pair it reaches the first, on the other it stays below the second."""


class Contrast(NamedTuple):
    """A text in which the unit is active, its counterpart in which it is silent, and its activation in the first."""

    active: str
    silent: str
    activation: float


class WrittenContrast(Scorer):
    """Asks which of two written texts activates the unit."""

    name = "contrastive_written"
    source = "Interpretability Evals for Dictionary Learning, Circuits Updates August 2024, Contrastive Eval"
    needs_explanation = False
    steps = ("run", "ask")
    figures: ClassVar[Mapping[str, str]] = {
        "accuracy": "share of written pairs in which the judge finds the active text, of those in which the unit is active on one side",
        "accuracy_weighted": "the same, pairs weighted by the activation in the active text",
        "pairs": "number of written pairs in which the unit is active on one side only: not a score",
    }
    chance = 0.5

    def subject_tasks(self, case: Case, step: int, answers: StepAnswers) -> Sequence[ReadText | ReadPeaks | SteerText]:
        """All texts of all pairs, in one task."""
        return [ReadPeaks(texts())]

    def questions(self, case: Case, step: int, answers: StepAnswers) -> Sequence[Question]:
        """One question per pair that is asked about."""
        return [
            two_texts(case, self.name, [pair.active, pair.silent], is_swapped(case, n))
            for n, pair in enumerate(self._asked(case, answers))
        ]

    def shapes(self, case: Case, answers: StepAnswers) -> Sequence[Shape]:
        """The active text of each pair against the silent one, by their characters."""
        pairs = self._asked(case, answers)
        return [Shape(truth, len(text), 0.0) for p in pairs for truth, text in ((True, p.active), (False, p.silent))]

    def score(self, case: Case, answers: StepAnswers) -> Scores:
        """Accuracies over the pairs that were answered."""
        read, pairs = step_results(answers, 0, 1)[0], self._asked(case, answers)
        results = step_results(answers, 1, len(pairs))
        hits = [
            Hit(float(answer == 1 + is_swapped(case, n)), pair.activation)
            for n, (pair, answer) in enumerate(zip(pairs, results, strict=True))
            if answer is not None
        ]
        values = accuracies(hits)
        found = {name: values[name] for name in ("accuracy", "accuracy_weighted")}
        n_pairs = None if read is None else float(len(_contrasts(case, read)))
        return Scores(found | {"pairs": n_pairs}, len(hits), results.count(None), _why(case, read))

    def _asked(self, case: Case, answers: StepAnswers) -> list[Contrast]:
        """The pairs that are asked about; none for a unit with too few windows to show."""
        read = step_results(answers, 0, 1)[0]
        if read is None or len(case.active) < SHOWN:
            return []
        return evenly_spaced(_contrasts(case, read), MOST)


def _contrasts(case: Case, peaks: Sequence[float | None]) -> list[Contrast]:
    """The pairs with the unit active on one side only, the strongest first. `peaks` are in the order of `texts`."""
    found, first = [], 0
    for pair in concept_pairs():
        n = len(pair.sides[0])
        sides = [[peak or 0.0 for peak in peaks[start : start + n]] for start in (first, first + n)]
        first += 2 * n
        for own, other in ((0, 1), (1, 0)):
            strongest = max(sides[own])
            if (
                strongest >= ACTIVE * case.unit.max_activation > 0
                and max(sides[other]) < SILENT * case.unit.max_activation
            ):
                place = sides[own].index(strongest)
                found.append(Contrast(pair.sides[own][place], pair.sides[other][place], strongest))
    return sorted(found, key=lambda pair: (-pair.activation, pair.active))


def _why(case: Case, read: object) -> str:
    if read is None:
        return "the written pairs were not read"
    if len(case.active) < SHOWN:
        return f"fewer than {SHOWN} judged windows to show"
    return "active on one side only of none of the written pairs"
