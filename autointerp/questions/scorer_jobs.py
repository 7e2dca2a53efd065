"""The jobs of scorers other than the rubric, and the question of each job."""

from __future__ import annotations

from dataclasses import replace

from autointerp.hashing import content_hash
from autointerp.ledger.jobs import Job
from autointerp.questions import planned_jobs
from autointerp.records import Unit
from autointerp.scorers.base import Question, Scorer
from autointerp.scorers.cases import Cases


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
    answers = cases.answers(scorer, job.unit_id)[: job.step]
    question = scorer.questions(cases.of(job.unit_id), job.step, answers)[job.repeat]
    return _with_room(question, cases.run.spec.judge.max_output_tokens)


def _with_room(question: Question, least: int) -> Question:
    """The question, and those about its items alone, with a token limit of at least `least`."""
    prompt, parse, alone = question
    limited = replace(prompt, max_tokens=max(prompt.max_tokens, least))
    return Question(limited, parse, lambda: [_with_room(one, least) for one in alone()])


def _place(unit: Unit, scorer: Scorer, number: int) -> int:
    """Position in the run's order of questions: a hash, so that units and scorers are mixed."""
    return int(content_hash(["place", unit.unit_id, scorer.name, number])[:7], 16)
