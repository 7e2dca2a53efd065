"""Sensitivity: the judge writes texts that should activate the unit. On how many does it respond?

The rubric asks whether the concept is present when the unit is active; this asks the converse. Texts are written twice: to the
explanation, which tests explanation and unit together, and from the unit's strongest windows without any explanation, as in the source,
which tests the unit. The source counts any activation above 0, which the neuron of a gated MLP reaches on nearly every text: the
compared figure requires a tenth of the unit's maximum, and the source's is reported beside it. The windows shown are read
again on their own: a unit that is silent on them too needs more context than a short text can give.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import fmean
from typing import ClassVar

from autointerp.records import Exemplar
from autointerp.scorers.base import Case, Question, ReadText, Scorer, Scores, SteerText, StepAnswers
from autointerp.scorers.common_questions import writing
from autointerp.scorers.window_choice import peak, step_results, strongest_first

WRITTEN = 10
"""Texts per question, as in the source."""
SHOWN = 10
"""Windows shown; the source shows 15, ten of them the strongest."""
STRONG = 0.1
"""Share of the unit's maximum from which it counts as responding."""
ANY = 1e-6
"""The source's threshold, in units of activation."""


class Sensitivity(Scorer):
    """Measures how often the unit responds to texts written for it."""

    name = "sensitivity"
    source = "Measuring Sparse Autoencoder Feature Sensitivity, 2025 (arXiv 2509.23717); nathanhu0/sae-sensitivity"
    needs_explanation = True
    steps = ("ask", "run")
    figures: ClassVar[Mapping[str, str]] = {
        "sensitivity": "share of texts written to the explanation on which the unit reaches a tenth of its maximum",
        "sensitivity_any": "the same at any activation",
        "from_examples": "share of texts written from its strongest windows on which it reaches a tenth of its maximum",
        "from_examples_any": "the same at any activation: the source's figure",
        "read_again": "share of the windows shown on which it reaches a tenth of its maximum when they are read alone: the ceiling",
    }
    chance = None

    def questions(self, case: Case, step: int, answers: StepAnswers) -> Sequence[Question]:
        """Two questions for ten texts each: one with the explanation, one with the unit's strongest windows."""
        if not case.explanation or not case.active:
            return []
        shown = [window.marked_text for window in _shown(case)]
        return [writing(case.explanation, (), WRITTEN), writing("", shown, WRITTEN)]

    def subject_tasks(self, case: Case, step: int, answers: StepAnswers) -> Sequence[ReadText | SteerText]:
        """The texts of both questions, then the windows shown. None if no text was written."""
        to_explanation, from_examples, shown = _texts(case, answers)
        written = to_explanation + from_examples
        return [ReadText(text) for text in written + shown] if written else []

    def score(self, case: Case, answers: StepAnswers) -> Scores:
        """Shares over the texts that were written and read; a question that returned no texts counts as one unscored answer."""
        n_questions = len(self.questions(case, 0, ()))
        to_explanation, from_examples, _ = _texts(case, answers)
        n_tasks = len(self.subject_tasks(case, 1, answers))
        peaks = [peak(activations) for activations in step_results(answers, 1, n_tasks)]
        cuts = [0, len(to_explanation), len(to_explanation) + len(from_examples), len(peaks)]
        explained, copied, again = ([p for p in peaks[a:b] if p is not None] for a, b in pairwise(cuts))
        strong = STRONG * case.unit.max_activation
        values = {
            "sensitivity": _share(explained, strong),
            "sensitivity_any": _share(explained, ANY),
            "from_examples": _share(copied, strong),
            "from_examples_any": _share(copied, ANY),
            "read_again": _share(again, strong),
        }
        failed = step_results(answers, 0, n_questions).count(None)
        why = "no text of this kind was written and read" if case.active else "no judged window"
        return Scores(values, len(explained) + len(copied), failed + peaks.count(None), why)


def _shown(case: Case) -> list[Exemplar]:
    return strongest_first(case.active)[:SHOWN]


def _texts(case: Case, answers: StepAnswers) -> tuple[list[str], list[str], list[str]]:
    """The texts written to the explanation, those written from examples, and the windows shown."""
    to_explanation, from_examples = (list(texts or ()) for texts in step_results(answers, 0, 2))
    return to_explanation, from_examples, [window.text for window in _shown(case)]


def _share(peaks: Sequence[float], least: float) -> float | None:
    """The share of peaks at or above `least`; None if there are none."""
    return fmean(p >= least for p in peaks) if peaks else None
