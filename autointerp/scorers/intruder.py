"""Intruder: four windows of the unit and one of another unit, every one marked where its own unit is active. Which does not belong?

It asks whether the unit means one thing, not whether somebody found words for that: no explanation is needed. What differs from the
source: windows of like strength are grouped by rank, so that sparse top bins are asked about too; the intruder's place goes round,
so that a judge that always names the same place gets 0.2; and a window serves as intruder only if the unit, reading it, is nearly silent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Literal, NamedTuple

from autointerp.messages import TaskMaterial
from autointerp.records import Exemplar
from autointerp.scorers.base import Brought, Case, Question, Read, Scores, Steer
from autointerp.scorers.common_questions import DATA_ONLY, choice, group, marked, text_of
from autointerp.scorers.window_choice import answers, evenly, of_others, peak, strongest

SHOWN = 5
"""Windows in a question, the intruder included."""
MOST = 10
"""Questions a unit: one a decile where there are windows enough."""
SPARE = 2
"""Windows read for each intruder that is needed."""
SILENT = 0.1
"""A window in which the unit stays below this share of its maximum can be an intruder."""

SYSTEM = f"""
Five texts are given, each with one place between << and >>. Four of the marked places have something in common: a word, a kind of word, a subject, a form, or what comes before. One does not belong to them.

Find the text whose marked place does not belong. Look at the marked places first, then at what stands around them.

{DATA_ONLY}

Answer with a short reason, and then the number of that text.
""".strip()


class _Group(NamedTuple):
    """Windows of like strength, and the tenth of the maximum, 1 to 10, in which they lie."""

    windows: list[Exemplar]
    tenth: int


class Intruder:
    """Which of five windows is another unit's?"""

    name = "intruder"
    source = "Evaluating SAE interpretability without explanations, 2025 (arXiv 2507.08473); delphi's IntruderScorer"
    needs_explanation = False
    steps: tuple[Literal["ask", "run"], ...] = ("run", "ask")
    figures: Mapping[str, str] = {
        "accuracy": "share of intruders found, each group of windows counting once",
        **{f"accuracy_{t}": f"the same among windows in tenth {t} of the unit's maximum" for t in range(1, 11)},
    }
    chance: float | None = 1 / SHOWN

    def work(self, case: Case, step: int, brought: Brought) -> Sequence[Read | Steer]:
        """Windows of other units, twice as many as can be needed, to see whether the unit is silent in them."""
        return [Read(text_of(window)) for window in self._candidates(case)]

    def questions(self, case: Case, step: int, brought: Brought) -> Sequence[Question]:
        """One a group of windows, as far as there are intruders in which the unit is silent."""
        return [self._question(case, number, *pair) for number, pair in enumerate(self._pairs(case, brought))]

    def score(self, case: Case, brought: Brought) -> Scores:
        """Accuracy, and that of each tenth of the maximum."""
        pairs = self._pairs(case, brought)
        right: dict[int, list[bool]] = {}
        said = answers(brought, 1, len(pairs))
        for number, ((found, _), answer) in enumerate(zip(pairs, said, strict=True)):
            if answer is not None:
                right.setdefault(found.tenth, []).append(answer == _place(case, number) + 1)
        every = [hit for hits in right.values() for hit in hits]
        values: dict[str, float | None] = {"accuracy": fmean(every) if every else None}
        values |= {f"accuracy_{t}": fmean(right[t]) if t in right else None for t in range(1, 11)}
        return Scores(values, len(every), said.count(None))

    def _candidates(self, case: Case) -> list[Exemplar]:
        return of_others(case, SPARE * len(_groups(case)), self.name)

    def _pairs(self, case: Case, brought: Brought) -> list[tuple[_Group, Exemplar]]:
        """Groups, each with an intruder of its own, those in which the unit is quietest first."""
        candidates = self._candidates(case)
        peaks = [peak(seen) for seen in answers(brought, 0, len(candidates))]
        bound = SILENT * case.unit.max_activation
        silent = [(p, n) for n, p in enumerate(peaks) if p is not None and p < bound]
        return list(zip(_groups(case), [candidates[n] for _, n in sorted(silent)], strict=False))

    def _question(self, case: Case, number: int, found: _Group, intruder: Exemplar) -> Question:
        windows = list(map(marked, found.windows))
        windows.insert(_place(case, number), marked(intruder))
        return choice(SYSTEM, group(windows, "text"), TaskMaterial(self.name, "", tuple(windows)), SHOWN)


def _groups(case: Case) -> list[_Group]:
    """Windows in order of strength, four by four; of more than `MOST` groups those at even distances."""
    ranked, size = strongest(case.active), SHOWN - 1
    groups = [ranked[first : first + size] for first in range(0, len(ranked) - size + 1, size)]
    return [_Group(windows, _tenth(windows)) for windows in evenly(groups, MOST)]


def _tenth(windows: Sequence[Exemplar]) -> int:
    share = median(window.activation_fraction for window in windows)
    return min(10, max(1, math.ceil(10 * share)))


def _place(case: Case, number: int) -> int:
    """Where the intruder stands, from 0: each place in turn, from one that the unit's seed gives."""
    return (case.seed + number) % SHOWN
