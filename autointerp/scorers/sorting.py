"""Sort: the strongest windows of two units, and one window more. Whose is it?

It needs no explanation. What differs from the source: the strongest windows are those of the judged sample and not of the whole
corpus, so that no explainer's document is shown; the window to be sorted is one of any strength, the unit's bins being sampled
alike, where the source does not say; the unit stands first and second in turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Literal, NamedTuple

from autointerp.messages import TaskMaterial
from autointerp.records import Exemplar
from autointerp.scorers.base import Brought, Case, Question, Read, Scores, Steer
from autointerp.scorers.common_questions import DATA_ONLY, choice, group, marked
from autointerp.scorers.window_choice import answers, evenly, strongest

SHOWN = 5
"""Windows that stand for each unit."""
MOST = 8
"""Questions a unit."""

SYSTEM = f"""
Two groups of texts are given, group 1 and group 2. In each text one place stands between << and >>; the marked places of a group have something in common. Then comes one text more.

Say to which group the last text belongs: whose marked places is its marked place like?

{DATA_ONLY}

Answer with a short reason, and then the number of the group, 1 or 2.
""".strip()


class _Pair(NamedTuple):
    window: Exemplar
    partner: int
    """Which of the others the unit is told apart from; 0 is the nearest."""


class Sort:
    """Of which of two units is this window?"""

    name = "sort"
    source = "Interpretability Evals for Dictionary Learning, Circuits Updates August 2024, Sort Eval"
    needs_explanation = False
    steps: tuple[Literal["ask", "run"], ...] = ("ask",)
    figures: Mapping[str, str] = {
        "accuracy": "share of windows that are given to the right unit",
        "accuracy_near": "the same where the other unit is the nearest by decoder direction, if the run knows directions",
        "accuracy_weighted": "the same, windows weighted by their activation",
    }
    chance: float | None = 0.5

    def questions(self, case: Case, step: int, brought: Brought) -> Sequence[Question]:
        """None unless the unit and another have windows enough."""
        return [self._question(case, number, pair) for number, pair in enumerate(_pairs(case))]

    def work(self, case: Case, step: int, brought: Brought) -> Sequence[Read | Steer]:
        """Nothing: the subject has done its part."""
        return ()

    def score(self, case: Case, brought: Brought) -> Scores:
        """Accuracies over the windows that got an answer."""
        pairs = _pairs(case)
        said = answers(brought, 0, len(pairs))
        hits = [
            (pair, float(answer == 1 + _second(case, number)))
            for number, (pair, answer) in enumerate(zip(pairs, said, strict=True))
            if answer is not None
        ]
        near = [hit for pair, hit in hits if pair.partner == 0]
        weight = sum(pair.window.activation for pair, _ in hits)
        values = {
            "accuracy": fmean(hit for _, hit in hits) if hits else None,
            "accuracy_near": fmean(near) if near else None,
            "accuracy_weighted": sum(p.window.activation * hit for p, hit in hits) / weight if weight else None,
        }
        return Scores(values, len(hits), said.count(None))

    def _question(self, case: Case, number: int, pair: _Pair) -> Question:
        groups = [
            tuple(map(marked, strongest(windows)[:SHOWN])) for windows in (case.active, case.others[pair.partner])
        ]
        if _second(case, number):
            groups.reverse()
        window = marked(pair.window)
        user = "\n".join(f"Group {n}:\n{group(windows, 'activating')}" for n, windows in enumerate(groups, 1))
        user += f"\nThe last text:\n{group([window], 'text')}"
        return choice(SYSTEM, user, TaskMaterial(self.name, "", (window,), tuple(groups)), 2)


def _pairs(case: Case) -> list[_Pair]:
    """Windows that are not shown, at even distances of strength, the partners in turn."""
    partners = [number for number, windows in enumerate(case.others) if len(windows) >= SHOWN]
    windows = evenly(strongest(case.active)[SHOWN:], MOST)
    return [_Pair(window, partners[n % len(partners)]) for n, window in enumerate(windows)] if partners else []


def _second(case: Case, number: int) -> bool:
    """Whether the unit is group 2: in every other question."""
    return bool((case.seed + number) % 2)
