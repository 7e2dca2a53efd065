"""The jobs of scorers other than the rubric, and the question of each job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from autointerp.hashing import content_hash
from autointerp.ledger.jobs import Job
from autointerp.questions import planned_jobs
from autointerp.records import Unit
from autointerp.scorers.base import Question, Scorer
from autointerp.scorers.cases import Cases
from autointerp.scorers.registry import SCORERS

KEPT = 1024
"""Units of which all questions of the first step are kept, because their jobs are mixed with those of other units."""


def jobs(cases: Cases, scorer: Scorer, step: int) -> list[Job]:
    """The jobs of one step: one per question, or a single one for all tasks of the subject."""
    if scorer.steps[step] == "run":
        return [planned_jobs.scorer_job(scorer.name, step, "probe", "", 0, step)]
    return [
        planned_jobs.scorer_job(scorer.name, step, "score", unit.unit_id, number, _place(unit, scorer, number), shown)
        for unit in cases.units(scorer)
        for shown in [unit.unit_id if scorer.needs_explanation else ""]
        for number, _ in enumerate(scorer.questions(cases.of(unit.unit_id), step, cases.answers(scorer, unit.unit_id)))
    ]


def question(cases: Cases, scorer: Scorer, job: Job) -> Question:
    """The question of a job. Its token limit is the scorer's or the spec's, whichever is larger, because thinking counts too."""
    if job.step:
        answers = cases.answers(scorer, job.unit_id)[: job.step]
        questions = scorer.questions(cases.of(job.unit_id), job.step, answers)
    else:
        explanation = cases.explanation(job.unit_id)
        questions = _first_questions(_Unit(cases.run.run_id, scorer.name, job.unit_id, explanation, cases))
    return _with_room(questions[job.repeat], cases.run.spec.judge.max_output_tokens)


@dataclass(frozen=True)
class _Unit:
    """A unit, by what decides the questions of a scorer's first step."""

    run_id: str
    scorer: str
    unit_id: str
    explanation: str
    cases: Cases = field(compare=False)


@lru_cache(maxsize=KEPT)
def _first_questions(unit: _Unit) -> Sequence[Question]:
    return SCORERS[unit.scorer].questions(unit.cases.of(unit.unit_id), 0, ())


def _with_room(question: Question, least: int) -> Question:
    """The question, and those about its items alone, with a token limit of at least `least`."""
    prompt, parse, alone = question
    limited = replace(prompt, max_tokens=max(prompt.max_tokens, least))
    return Question(limited, parse, lambda: [_with_room(one, least) for one in alone()])


def _place(unit: Unit, scorer: Scorer, number: int) -> int:
    """Position in the run's order of questions: a hash, so that units and scorers are mixed."""
    return int(content_hash(["place", unit.unit_id, scorer.name, number])[:7], 16)
