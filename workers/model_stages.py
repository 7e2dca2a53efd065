"""Stages that load a model: preparing, harvesting shards, merging, subject tasks for scorers, and studies."""

from __future__ import annotations

from collections.abc import Iterator

from autointerp.calls.caller import Postponed
from autointerp.errors import EXPECTED
from autointerp.findings.summary import read_summary
from autointerp.formatting import plural
from autointerp.harvest import plan, shards
from autointerp.harvest.finished import finished_harvest, is_complete
from autointerp.harvest.merge import merge_harvest
from autointerp.harvest.plan import MOST_TOGETHER, SharedPlan
from autointerp.ledger import events, jobs, leases, runs
from autointerp.ledger.jobs import Job
from autointerp.pipeline import finish, stages
from autointerp.progress import Progress, quiet
from autointerp.questions import planned_jobs, subject_tasks
from autointerp.studies import of_spec
from workers.context import Context

SAME_HARVEST_S = 10.0
"""How long a run waits before it checks again whether another run has finished the harvest that it needs."""


def prepare(context: Context, run_id: str, job: Job) -> None:
    """Open the inputs and write the harvest's plan. Runs that need the same harvest wait for the first of them."""
    inputs = context.opened.inputs(context.spec(run_id))
    shared = shards.begin_harvest(inputs, context.artifacts)
    finished = finished_harvest(context.artifacts, shared.key) is not None
    is_read = shards.kept_sketch(inputs, context.artifacts, shared) is not None
    with context.ledger.write() as tx:
        if finished:
            runs.set_harvest(tx, run_id, shared.key)
        elif not runs.claim_harvest(tx, run_id, shared.key):
            raise Postponed("another run is reading the same harvest", SAME_HARVEST_S)
        jobs.finish(tx, run_id, job.job_key)
        if finished or is_read:
            stages.plan_stage(tx, run_id, "merge")
        else:
            stages.plan_stage(
                tx, run_id, "harvest", [planned_jobs.stage_job("harvest", number) for number in range(shared.shards)]
            )
        started = (
            "exemplars drawn from a kept sketch" if is_read else f"harvest started: {plural(shared.shards, 'shard')}"
        )
        text = "existing harvest used" if finished else started
        events.add(tx, run_id, text, worker=context.worker_id)


def harvest(context: Context, run_id: str, job: Job) -> None:
    """Harvest one shard, and in the same pass that shard for other runs over the same subject and corpus."""
    shared = plan.read_plan(context.artifacts, _harvest_key(context, run_id))
    inputs = context.opened.inputs(context.spec(run_id), precision=shared.precision)
    owner = context.worker_id
    others: list[tuple[str, Job, shards.PlannedInputs]] = []
    try:
        if not job.attempts:  # a job that failed before runs alone, so that it cannot make the others fail
            others.extend(_lease_same_pass(context, run_id, job, shared, owner))
        parts = [part for *_, part in others]
        shards.harvest_shard(inputs, context.artifacts, shared, job.place, quiet, context.stopping.is_set, parts)
    except BaseException:
        with context.ledger.write() as tx:
            for other_id, other_job, _ in others:
                leases.put_back(tx, other_id, [other_job.job_key], owner)
        raise
    for done_id, done_job in [(run_id, job), *((other_id, other_job) for other_id, other_job, _ in others)]:
        with context.ledger.write() as tx:
            jobs.finish(tx, done_id, done_job.job_key)
        with context.ledger.write() as tx:
            stages.advance(tx, done_id)


def _lease_same_pass(
    context: Context, run_id: str, job: Job, shared: SharedPlan, owner: str
) -> Iterator[tuple[str, Job, shards.PlannedInputs]]:
    """Lease the same shard of other runs that one pass over the corpus can serve. Runs with unusable inputs are left out."""
    with context.ledger.read() as tx:
        candidates = leases.matching_in_other_runs(tx, run_id, job)
    for other_id in candidates[: MOST_TOGETHER - 1]:
        try:
            other = plan.read_plan(context.artifacts, _harvest_key(context, other_id))
            if other.pass_key != shared.pass_key:
                continue
            inputs = context.opened.inputs(context.spec(other_id), precision=other.precision)
            part = shards.PlannedInputs(inputs, other)
        except EXPECTED:
            continue
        with context.ledger.write() as tx:
            other_job = leases.lease_matching(tx, other_id, job, owner=owner)
        if other_job is not None:
            yield other_id, other_job, part


def merge(context: Context, run_id: str, job: Job) -> None:
    """Merge all shards into exemplars, and plan the explanations."""
    shared = plan.read_plan(context.artifacts, _harvest_key(context, run_id))
    if not is_complete(context.spec(run_id), context.artifacts, shared):
        inputs = context.opened.inputs(context.spec(run_id), precision=shared.precision)
        merge_harvest(inputs, context.artifacts, shared, quiet)
    run = context.run(run_id)
    with context.ledger.write() as tx:
        jobs.finish(tx, run_id, job.job_key)
        runs.end_stage(tx, run_id, "merge")
        stages.plan_stage(tx, run_id, "explain", stages.explain_jobs(tx, run))
        events.add(tx, run_id, f"harvest done: {plural(len(run.units), 'unit')}", worker=context.worker_id)


def probe(context: Context, run_id: str, job: Job) -> None:
    """Run a scorer's task on the subject."""
    inputs = context.opened.inputs(context.spec(run_id))
    subject_tasks.run_job(context.ledger, context.run(run_id), context.explanations(run_id), inputs, job, quiet)
    with context.ledger.write() as tx:
        stages.advance(tx, run_id)


def study(context: Context, run_id: str, job: Job) -> None:
    """Carry out one study of the run's spec, and plan the next; after the last, mark the run as done."""
    run = context.run(run_id)
    with Progress(quiet=True) as progress:
        why = of_spec.failure(run, job.place, context.payer(run), progress, context.opened)
    with context.ledger.write() as tx:
        if why:
            jobs.fail(tx, run_id, job.job_key, why)
        else:
            jobs.finish(tx, run_id, job.job_key)
        if job.place + 1 < len(run.spec.studies.chosen):
            stages.plan_stage(tx, run_id, "studies", [planned_jobs.stage_job("studies", job.place + 1)])
            return
        failed = [error for each, error in jobs.failed(tx, run_id) if each.stage == "studies"]
        runs.end_stage(tx, run_id, "studies")
        finish.mark_done(tx, run_id, read_summary(run.folder), failed)


def _harvest_key(context: Context, run_id: str) -> str:
    with context.ledger.read() as tx:
        row = runs.get(tx, run_id)
    assert row is not None, run_id
    return str(row["harvest_key"])


STAGES = {"prepare": prepare, "harvest": harvest, "merge": merge, "probe": probe, "studies": study}
