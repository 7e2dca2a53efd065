"""Sensitivity: texts are written that should activate the unit. How many do?

The rubric asks whether the concept is there when the unit is active; this asks the converse. Texts are written twice: to the
explanation, which tests explanation and unit together, and after the unit's strongest windows without any explanation, as in the source,
which tests the unit. The source calls a text active at any activation above 0. So does the neuron of a gated MLP on nearly every
text, so the figure that is compared asks for a tenth of the unit's maximum, and the source's stands beside it. The windows
shown are read again, alone: where the unit is silent in these too, it needs more context than a short text can give.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import fmean
from typing import Literal

from autointerp.records import Exemplar
from autointerp.scorers.base import Brought, Case, Question, Read, Scores, Steer
from autointerp.scorers.common_questions import marked, text_of, writing
from autointerp.scorers.window_choice import answers, peak, strongest

WRITTEN = 10
"""Texts a question, as in the source."""
SHOWN = 10
"""Windows shown; the source shows 15, ten of them the strongest."""
STRONG = 0.1
"""Share of the unit's maximum from which it counts as responding."""
ANY = 1e-6
"""The source's threshold."""


class Sensitivity:
    """How often does the unit respond to texts written for it?"""

    name = "sensitivity"
    source = "Measuring Sparse Autoencoder Feature Sensitivity, 2025 (arXiv 2509.23717); nathanhu0/sae-sensitivity"
    needs_explanation = True
    steps: tuple[Literal["ask", "run"], ...] = ("ask", "run")
    figures: Mapping[str, str] = {
        "sensitivity": "share of texts written to the explanation that bring the unit to a tenth of its maximum",
        "sensitivity_any": "the same at any activation",
        "from_examples": "share of texts written after its strongest windows that bring it to a tenth of its maximum",
        "from_examples_any": "the same at any activation: the source's figure",
        "read_again": "share of the windows shown that bring it to a tenth of its maximum when read alone: the ceiling",
    }
    chance: float | None = None

    def questions(self, case: Case, step: int, brought: Brought) -> Sequence[Question]:
        """Two, each for ten texts: to the explanation, and after the examples."""
        if not case.explanation or not case.active:
            return []
        shown = [marked(window) for window in _shown(case)]
        return [writing(case.explanation, (), WRITTEN), writing("", shown, WRITTEN)]

    def work(self, case: Case, step: int, brought: Brought) -> Sequence[Read | Steer]:
        """The texts of both, and then the windows shown. Nothing where nothing was written."""
        to_explanation, after_examples, shown = _texts(case, brought)
        texts = to_explanation + after_examples
        return [Read(text) for text in texts + shown] if texts else []

    def score(self, case: Case, brought: Brought) -> Scores:
        """Shares over the texts that were written and read; a question that brought none is unscored."""
        asked = len(self.questions(case, 0, ()))
        parts = _texts(case, brought)
        work = self.work(case, 1, brought)
        peaks = [peak(seen) for seen in answers(brought, 1, len(work))]
        cuts = [0, len(parts[0]), len(parts[0]) + len(parts[1]), len(peaks)]
        written, after, again = ([p for p in peaks[a:b] if p is not None] for a, b in pairwise(cuts))
        strong = STRONG * case.unit.max_activation
        values = {
            "sensitivity": _share(written, strong),
            "sensitivity_any": _share(written, ANY),
            "from_examples": _share(after, strong),
            "from_examples_any": _share(after, ANY),
            "read_again": _share(again, strong),
        }
        failed = answers(brought, 0, asked).count(None)
        return Scores(values, len(written) + len(after), failed + peaks.count(None))


def _shown(case: Case) -> list[Exemplar]:
    return strongest(case.active)[:SHOWN]


def _texts(case: Case, brought: Brought) -> tuple[list[str], list[str], list[str]]:
    """Written to the explanation, written after the examples, and the windows shown."""
    to_explanation, after_examples = (list(texts or ()) for texts in answers(brought, 0, 2))
    return to_explanation, after_examples, [text_of(window) for window in _shown(case)]


def _share(peaks: Sequence[float], least: float) -> float | None:
    return fmean(p >= least for p in peaks) if peaks else None
