"""Intruder: of four windows of the unit and one of another, each marked where its own unit is active, which one does not belong?

It asks whether the unit has one meaning, not whether the meaning was put into words: no explanation is needed. What differs from the
source: windows of similar strength are grouped by rank, so that sparse top bins are asked about too; the intruder's position rotates,
so that a judge which always names the same position scores 0.2; and a window serves as intruder only if the unit is nearly silent on it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import ClassVar, NamedTuple

from autointerp.messages import TaskMaterial
from autointerp.records import Exemplar
from autointerp.scorers.base import Case, Question, ReadText, Scorer, Scores, Shape, SteerText, StepAnswers
from autointerp.scorers.common_questions import DATA_ONLY, choice, numbered_windows
from autointerp.scorers.equal_lengths import cut_alike
from autointerp.scorers.window_choice import evenly_spaced, peak, step_results, strongest_first, windows_of_others

SHOWN = 5
"""Windows in a question, the intruder included."""
MOST = 10
"""Questions per unit: one for each decile of strength if there are enough windows."""
SPARE = 2
"""Candidate windows that are read for each intruder that is needed."""
SILENT = 0.1
"""A window can be an intruder if the unit stays below this share of its maximum on it."""

SYSTEM = f"""
Five texts are given, each with one place between << and >>. Four of the marked places have something in common: a word, a kind of \
word, a subject, a form, or what comes before. One does not belong to them.

Find the text whose marked place does not belong. Look at the marked places first, then at what stands around them.

{DATA_ONLY}

Answer with a short reason, and then the number of that text.
""".strip()


class _Group(NamedTuple):
    """Windows of similar strength, and the tenth of the unit's maximum, 1 to 10, in which their median lies."""

    windows: list[Exemplar]
    tenth: int


class Intruder(Scorer):
    """Asks which of five windows belongs to another unit."""

    name = "intruder"
    source = "Evaluating SAE interpretability without explanations, 2025 (arXiv 2507.08473); delphi's IntruderScorer"
    needs_explanation = False
    steps = ("run", "ask")
    figures: ClassVar[Mapping[str, str]] = {
        "accuracy": "share of intruders found, each group of windows counting once",
        **{f"accuracy_{t}": f"the same among windows in tenth {t} of the unit's maximum" for t in range(1, 11)},
    }
    chance = 1 / SHOWN

    def subject_tasks(self, case: Case, step: int, answers: StepAnswers) -> Sequence[ReadText | SteerText]:
        """Windows of other units to read, to find those on which the unit is silent."""
        return [ReadText(window.text) for window in self._candidates(case)]

    def questions(self, case: Case, step: int, answers: StepAnswers) -> Sequence[Question]:
        """One question per group of windows, as far as there are intruders for them."""
        return [self._question(case, number, *pair) for number, pair in enumerate(self._pairs(case, answers))]

    def shapes(self, case: Case, answers: StepAnswers) -> Sequence[Shape]:
        """Intruders against the windows that they are shown with."""
        pairs = self._pairs(case, answers)
        windows = [(False, w) for group, _ in pairs for w in group.windows] + [
            (True, intruder) for _, intruder in pairs
        ]
        return [Shape.of(is_intruder, window.marked_text) for is_intruder, window in windows]

    def score(self, case: Case, answers: StepAnswers) -> Scores:
        """Accuracy over all groups, and over those of each tenth of the unit's maximum."""
        pairs = self._pairs(case, answers)
        hits_by_tenth: dict[int, list[bool]] = {}
        results = step_results(answers, 1, len(pairs))
        for number, ((group, _), answer) in enumerate(zip(pairs, results, strict=True)):
            if answer is not None:
                hits_by_tenth.setdefault(group.tenth, []).append(answer == _position(case, number) + 1)
        hits = [hit for tenth in hits_by_tenth.values() for hit in tenth]
        values: dict[str, float | None] = {"accuracy": fmean(hits) if hits else None}
        values |= {f"accuracy_{t}": fmean(hits_by_tenth[t]) if t in hits_by_tenth else None for t in range(1, 11)}
        why = dict.fromkeys(self.figures, "no group of windows in this tenth")
        return Scores(values, len(hits), results.count(None), why if pairs else self._not_asked(case))

    def _not_asked(self, case: Case) -> str:
        if not _groups(case):
            return f"fewer than {SHOWN - 1} judged windows"
        return "no window of another unit on which the unit is nearly silent"

    def _candidates(self, case: Case) -> list[Exemplar]:
        return windows_of_others(case, SPARE * len(_groups(case)), self.name)

    def _pairs(self, case: Case, answers: StepAnswers) -> list[tuple[_Group, Exemplar]]:
        """Each group with an intruder of its own, equally long; the windows on which the unit is weakest are used first."""
        candidates = self._candidates(case)
        peaks = [peak(activations) for activations in step_results(answers, 0, len(candidates))]
        bound = SILENT * case.unit.max_activation
        silent = [(p, n) for n, p in enumerate(peaks) if p is not None and p < bound]
        pairs = zip(_groups(case), [candidates[n] for _, n in sorted(silent)], strict=False)
        return [_equally_long(group, intruder) for group, intruder in pairs]

    def _question(self, case: Case, number: int, group: _Group, intruder: Exemplar) -> Question:
        windows = [window.marked_text for window in group.windows]
        windows.insert(_position(case, number), intruder.marked_text)
        return choice(SYSTEM, numbered_windows(windows, "text"), TaskMaterial(self.name, "", tuple(windows)), SHOWN)


def _groups(case: Case) -> list[_Group]:
    """The windows in order of strength in groups of four; of more than `MOST` groups, evenly spaced ones."""
    ranked, size = strongest_first(case.active), SHOWN - 1
    groups = [ranked[first : first + size] for first in range(0, len(ranked) - size + 1, size)]
    return [_Group(windows, _tenth(windows)) for windows in evenly_spaced(groups, MOST)]


def _equally_long(group: _Group, intruder: Exemplar) -> tuple[_Group, Exemplar]:
    *windows, cut_intruder = cut_alike([*group.windows, intruder])
    return group._replace(windows=windows), cut_intruder


def _tenth(windows: Sequence[Exemplar]) -> int:
    share = median(window.activation_fraction for window in windows)
    return min(10, max(1, math.ceil(10 * share)))


def _position(case: Case, number: int) -> int:
    """The intruder's index among the windows: each in turn, starting from one that the unit's seed determines."""
    return (case.seed + number) % SHOWN
