"""Puts the questions of evaluations to a judge and a subject, without a run or a ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from autointerp.league.samples import Evidence
from autointerp.messages import Prompt, Reply, ScoreMaterial
from autointerp.prompts import single_grade
from autointerp.prompts.replies import ReplyUnusable
from autointerp.prompts.untrusted_text import render_window
from autointerp.records import Exemplar, Unit
from autointerp.scorers.base import Case, ReadPeaks, ReadText, Scorer, Scores, SteerText
from autointerp.spec.rubric import Rubric

MAX_TOKENS = 300
Run = Callable[[Unit, Sequence[ReadText | ReadPeaks | SteerText]], list[Any]]
"""Runs the subject's tasks of a unit."""


class Judge(Protocol):
    """Answers prompts, as the judges of a run do."""

    def ask(self, prompt: Prompt) -> Reply: ...


@dataclass(frozen=True)
class Answers:
    """A scorer's figures of a case, and the answers of all its steps."""

    case: Case
    steps: list[list[Any]]
    scores: Scores


@dataclass(frozen=True)
class Grades:
    """The rubric's grades of a unit's windows under one explanation, the strongest windows of each list first."""

    own: list[int]
    silent: list[int]
    neighbours: list[int]


def ask_scorer(scorer: Scorer, case: Case, judge: Judge, run: Run) -> Answers:
    """Go through a scorer's steps. An unusable reply is None, as in a run."""
    steps: list[list[Any]] = []
    for step, kind in enumerate(scorer.steps):
        if kind == "run":
            steps.append(run(case.unit, scorer.subject_tasks(case, step, steps)))
        else:
            steps.append([_parsed(judge.ask(q.prompt), q.parse) for q in scorer.questions(case, step, steps)])
    return Answers(case, steps, scorer.score(case, steps))


def ask_grades(rubric: Rubric, evidence: Evidence, explanation: str, judge: Judge) -> Grades:
    """Grade the windows of all three kinds. An item without a usable grade is left out."""

    def grades(windows: Sequence[Exemplar]) -> list[int]:
        materials = (ScoreMaterial(explanation, window.marked_text) for window in windows)
        prompts = (
            Prompt(system, single_grade.render_item(explanation, render_window(m.window)), schema, MAX_TOKENS, m)
            for m in materials
        )
        found = (
            _parsed(judge.ask(prompt), lambda text: single_grade.parse(rubric, text, "grade").score)
            for prompt in prompts
        )
        return [grade for grade in found if grade is not None]

    system, schema = single_grade.system(rubric, "grade"), single_grade.schema(rubric, "grade")

    return Grades(*map(grades, (evidence.case.active, evidence.case.silent, evidence.case.neighbours)))


def _parsed(reply: Reply, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(reply.text) if reply.stop == "complete" else None
    except ReplyUnusable:
        return None
