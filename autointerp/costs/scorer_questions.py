"""The most questions that a scorer asks about a unit, before the harvest: those about a stand-in with every window that a spec allows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from autointerp.costs import stand_ins
from autointerp.records import Exemplar, Unit
from autointerp.scorers.base import Case, Question, ReadPeaks, ReadText, Scorer, SteerText
from autointerp.scorers.cases import MAX_OTHERS
from autointerp.scorers.contrast.concept_pairs import concept_pairs
from autointerp.spec.spec import Spec

_UNIT = Unit("feature-0", "feature", 0, "", "", 1.0, 0.1, "alive")


def most_questions(spec: Spec, scorer: Scorer, explanation: str) -> list[Question]:
    """The questions of all steps about a unit that is active in every bin, if the subject's results allow as many as possible."""
    case, answers, questions = _case(spec, explanation), list[list[Any]](), list[Question]()
    for step, kind in enumerate(scorer.steps):
        if kind == "run":
            answers.append([_result(task) for task in scorer.subject_tasks(case, step, answers)])
        else:
            asked = scorer.questions(case, step, answers)
            questions += asked
            answers.append([None] * len(asked))
    return questions


def evaluates_planted(scorer: Scorer) -> bool:
    """Whether a scorer asks about planted units too, which the subject does not contain."""
    return "run" not in scorer.steps


def _case(spec: Spec, explanation: str) -> Case:
    per_bin, bins = spec.score.per_bin, spec.harvest.bins
    active = tuple(_windows(spec, "score", [bin_ for bin_ in range(bins, 0, -1) for _ in range(per_bin)]))
    return Case(
        unit=_UNIT,
        explanation=explanation,
        active=active,
        silent=tuple(_windows(spec, "quiet", [0] * spec.silent_windows)),
        others=tuple(tuple(_windows(spec, f"other {n}", [w.bin for w in active])) for n in range(MAX_OTHERS)),
        seed=0,
        neighbours=tuple(_windows(spec, "neighbour", [0] * spec.controls.neighbours)),
    )


def _windows(spec: Spec, name: str, bins: Sequence[int]) -> Iterator[Exemplar]:
    """Windows of the spec's length, no two with the same text."""
    tokens, role = stand_ins.window(spec).tokens, "score" if name.startswith("other") else name
    for number, bin_ in enumerate(bins):
        share = bin_ / spec.harvest.bins
        text = (f"{name} {number}", *tokens[1:])
        values = (share, *(0.0 for _ in text[1:]))
        yield Exemplar(f"{name}-{number}", _UNIT.unit_id, role, number, 0, share, share, bin_, 1.0, 0, text, values)  # type: ignore[arg-type]


def _result(task: ReadText | ReadPeaks | SteerText) -> Any:
    """A result of the subject after which the judge is asked: the unit is silent in a text, active on one side of a pair."""
    if isinstance(task, SteerText):
        return stand_ins.WORD * task.tokens
    if isinstance(task, ReadText):
        return [0.0]
    return [peak for pair in concept_pairs() for peak, side in zip((1.0, 0.0), pair.sides, strict=True) for _ in side]
