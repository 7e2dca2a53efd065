"""Sort: given the strongest windows of two units, to which of them does one further window belong?

No explanation is needed. What differs from the source: the strongest windows are those of the judged sample and not of the whole
corpus, so that no document of an explainer is shown; the window to be sorted is of any strength, from a sample that covers the
unit's bins alike (the source does not say which windows it takes); and the unit is group 1 and group 2 in turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import ClassVar

from autointerp.messages import TaskMaterial
from autointerp.records import Exemplar
from autointerp.scorers.base import Case, Question, Shape, StepAnswers
from autointerp.scorers.common_questions import DATA_ONLY, choice, numbered_windows
from autointerp.scorers.equal_lengths import cut_alike
from autointerp.scorers.pairwise import MOST, SHOWN, Pair, Pairwise
from autointerp.scorers.window_choice import evenly_spaced, strongest_first

SYSTEM = f"""
Two groups of texts are given, group 1 and group 2. In each text one place stands between << and >>; the marked places of a group have \
something in common. Then comes one text more.

Say to which group the last text belongs: whose marked places is its marked place like?

{DATA_ONLY}

Answer with a short reason, and then the number of the group, 1 or 2.
""".strip()


class Sort(Pairwise):
    """Asks to which of two units a window belongs."""

    name = "sort"
    source = "Interpretability Evals for Dictionary Learning, Circuits Updates August 2024, Sort Eval"
    figures: ClassVar[Mapping[str, str]] = {
        "accuracy": "share of windows assigned to the right unit",
        "accuracy_near": "the same where the other unit is the nearest one by decoder direction; any unit if the run has no directions",
        "accuracy_weighted": "the same over all windows, weighted by their activation",
    }

    def pairs(self, case: Case) -> list[Pair]:
        """Evenly spaced windows below the strongest, each paired with another unit in turn."""
        strongest = [tuple(strongest_first(windows)[:SHOWN]) for windows in case.others]
        foils = [(foil, rank == 0) for rank, foil in enumerate(strongest) if len(foil) == SHOWN]
        windows = evenly_spaced(strongest_first(case.active)[SHOWN:], MOST)
        return [Pair(window, *foils[n % len(foils)]) for n, window in enumerate(windows)] if foils else []

    def not_asked(self, case: Case) -> str:
        """Too few windows of the unit, or of all others."""
        if len(case.active) <= SHOWN:
            return f"fewer than {SHOWN + 1} judged windows"
        return f"no other unit with {SHOWN} judged windows"

    def shapes(self, case: Case, answers: StepAnswers) -> Sequence[Shape]:
        """How far each window differs from the unit's group, against how far it differs from the other one."""
        differences = []
        for pair in self.pairs(case):
            own, foil, window = _shown(case, pair)
            shape = Shape.of(True, window.marked_text)
            for truth, group in ((True, own), (False, foil)):
                shapes = [Shape.of(truth, each.marked_text) for each in group]
                length, place = fmean(s.length for s in shapes), fmean(s.place for s in shapes)
                differences.append(Shape(truth, abs(shape.length - length), abs(shape.place - place)))
        return differences

    def question(self, case: Case, pair: Pair, swapped: bool) -> Question:
        """The strongest windows of both units as two groups, then the window to be sorted."""
        own, foil, sorted_window = _shown(case, pair)
        groups = [tuple(window.marked_text for window in windows) for windows in (own, foil)]
        if swapped:
            groups.reverse()
        window = sorted_window.marked_text
        user = "\n".join(f"Group {n}:\n{numbered_windows(shown, 'activating')}" for n, shown in enumerate(groups, 1))
        user += f"\nThe last text:\n{numbered_windows([window], 'text')}"
        return choice(SYSTEM, user, TaskMaterial(self.name, "", (window,), tuple(groups)), 2)


def _shown(case: Case, pair: Pair) -> tuple[list[Exemplar], list[Exemplar], Exemplar]:
    """The unit's group, the other one, and the window to be sorted, all equally long."""
    *groups, window = cut_alike([*strongest_first(case.active)[:SHOWN], *pair.foil, pair.window])
    return groups[:SHOWN], groups[SHOWN:], window
