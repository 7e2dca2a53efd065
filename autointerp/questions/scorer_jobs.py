"""The jobs of scorers other than the rubric, and the question that each of them asks."""

from __future__ import annotations

from dataclasses import replace

from autointerp.hashing import content_hash
from autointerp.ledger.jobs import Job
from autointerp.questions import planned_jobs
from autointerp.records import Unit
from autointerp.scorers.base import Question, Scorer
from autointerp.scorers.cases import Cases


def jobs(cases: Cases, scorer: Scorer, step: int) -> list[Job]:
    """The jobs of one step: a question each, or one for all the subject's work."""
    if scorer.steps[step] == "run":
        return [planned_jobs.task_job(scorer.name, step, "probe", "", 0, step)]
    return [
        planned_jobs.task_job(scorer.name, step, "score", unit.unit_id, number, _place(unit, scorer, number), explained)
        for unit in cases.units(scorer)
        for explained in [unit.unit_id if scorer.needs_explanation else ""]
        for number, _ in enumerate(scorer.questions(cases.of(unit.unit_id), step, cases.brought(scorer, unit.unit_id)))
    ]


def question(cases: Cases, scorer: Scorer, job: Job) -> Question:
    """What a job asks. The reply may be as long as the scorer needs, or longer where the spec allows: thinking counts."""
    asked = scorer.questions(cases.of(job.unit_id), job.step, cases.brought(scorer, job.unit_id)[: job.step])
    prompt, parse = asked[job.repeat]
    most = max(prompt.max_tokens, cases.run.spec.judge.max_output_tokens)
    return Question(replace(prompt, max_tokens=most), parse)


def _place(unit: Unit, scorer: Scorer, number: int) -> int:
    return int(content_hash(["place", unit.unit_id, scorer.name, number])[:7], 16)
