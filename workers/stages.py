"""Stages whose jobs are not questions to a judge: preparing, harvesting, merging, subject tasks, planning, finishing, studies."""

from __future__ import annotations

from autointerp.errors import UsageError
from autointerp.formatting import plural
from autointerp.ledger import events, jobs
from autointerp.ledger.jobs import Job
from autointerp.pipeline import finish, stages
from autointerp.report.index import write as write_index
from autointerp.spec.providers import judge_facts
from sae.errors import SaeError
from workers.context import Context


def run_job(context: Context, run_id: str, job: Job) -> None:
    """Do one job, and plan what follows from it."""
    if job.stage == "plan":
        _plan(context, run_id, job)
    elif job.stage == "finish":
        _finish(context, run_id, job)
    else:
        from workers import model_stages  # torch

        model_stages.STAGES[job.stage](context, run_id, job)


def is_final(error: Exception) -> bool:
    """Whether another attempt cannot succeed, because the spec or an input is wrong."""
    return isinstance(error, (UsageError, SaeError))


def _plan(context: Context, run_id: str, job: Job) -> None:
    """Plan a round of questions. The run cannot leave the round before this job is done, even if all questions are answered."""
    run = context.run(run_id)
    round_ = stages.plan_round(context.ledger, run, job.place)
    with context.ledger.write() as tx:
        stages.end_planning(tx, run_id, job.place, round_)
        if not round_.jobs:
            stages.after_round(tx, run_id)
        what = "scoring started" if job.place == 0 else f"round {job.place + 1}"
        events.add(tx, run_id, f"{what}: {plural(len(round_.jobs), 'question')}", worker=context.worker_id)


def _finish(context: Context, run_id: str, job: Job) -> None:
    """Write tables, statistics, report and index. Mark the run as done, or plan the first study of its spec."""
    run = context.run(run_id)
    facts = judge_facts(run.spec.judge.model, run.spec.explained_by.model)
    command = f"autointerp submit {run.spec.name}.toml"
    summary = finish.write_results(context.ledger, run, judge_facts=facts, command=command)
    write_index(context.settings.results)
    with context.ledger.write() as tx:
        jobs.finish(tx, run_id, job.job_key)
        if run.spec.studies.chosen:
            stages.plan_stage(tx, run_id, "studies")
        else:
            finish.mark_done(tx, run_id, summary)
