"""The stages of a run for which a model is loaded: preparing, reading shards, merging, and the subject's tasks for scorers."""

from __future__ import annotations

from collections.abc import Iterator

from autointerp.calls.caller import Postponed
from autointerp.errors import EXPECTED
from autointerp.harvest import plan, shards
from autointerp.harvest.finished import finished_harvest, is_complete
from autointerp.harvest.merge import merge_harvest
from autointerp.harvest.plan import MOST_TOGETHER, SharedPlan
from autointerp.ledger import events, jobs, leases, runs
from autointerp.ledger.jobs import Job
from autointerp.pipeline import stages
from autointerp.progress import quiet
from autointerp.questions import planned_jobs, subject_tasks
from workers.context import Context

SAME_HARVEST_S = 10.0
"""How long a run waits before it checks again whether another run has finished the harvest that it needs."""


def prepare(context: Context, run_id: str, job: Job) -> None:
    """Open the inputs and settle the harvest's plan; runs that need the same harvest wait for the first of them."""
    inputs = context.opened.inputs(context.spec(run_id))
    made = shards.begin_harvest(inputs, context.artifacts)
    finished = finished_harvest(context.artifacts, made.key) is not None
    with context.ledger.write() as tx:
        if finished:
            runs.set_harvest(tx, run_id, made.key)
        elif not runs.begin_harvest(tx, run_id, made.key):
            raise Postponed("another run is reading the same harvest", SAME_HARVEST_S)
        jobs.finish(tx, run_id, job.job_key)
        if finished:
            stages.plan_stage(tx, run_id, "merge")
        else:
            stages.plan_stage(
                tx, run_id, "harvest", [planned_jobs.stage_job("harvest", number) for number in range(made.shards)]
            )
        what = "harvest found" if finished else f"harvest begun in {made.shards} shards"
        events.add(tx, run_id, what, worker=context.worker_id)


def harvest(context: Context, run_id: str, job: Job) -> None:
    """Read one shard, and with it the same shard for every other run whose dictionary reads the same subject and corpus."""
    made = plan.read_plan(context.artifacts, _harvest_key(context, run_id))
    inputs = context.opened.inputs(context.spec(run_id), precision=made.precision)
    owner = context.worker_id
    along: list[tuple[str, Job, shards.Part]] = []
    try:
        if not job.attempts:  # one that failed before is done alone: it may be what others would fail of
            along.extend(_along(context, run_id, job, made, owner))
        parts = [part for *_, part in along]
        shards.harvest_shard(inputs, context.artifacts, made, job.place, quiet, context.stopping.is_set, parts)
    except BaseException:
        with context.ledger.write() as tx:
            for other, its, _ in along:
                leases.put_back(tx, other, [its.job_key], owner)
        raise
    for other, its in [(run_id, job), *((other, its) for other, its, _ in along)]:
        with context.ledger.write() as tx:
            jobs.finish(tx, other, its.job_key)
        with context.ledger.write() as tx:
            stages.advance(tx, other)


def _along(
    context: Context, run_id: str, job: Job, made: SharedPlan, owner: str
) -> Iterator[tuple[str, Job, shards.Part]]:
    """Jobs of other runs that the same pass can serve, leased one by one; one whose inputs cannot be used is left to itself."""
    with context.ledger.read() as tx:
        others = leases.also(tx, run_id, job)
    for other in others[: MOST_TOGETHER - 1]:
        try:
            its_plan = plan.read_plan(context.artifacts, _harvest_key(context, other))
            if its_plan.pass_key != made.pass_key:
                continue
            part = shards.Part(context.opened.inputs(context.spec(other), precision=its_plan.precision), its_plan)
        except EXPECTED:
            continue
        with context.ledger.write() as tx:
            its = leases.lease_at(tx, other, job, owner=owner)
        if its is not None:
            yield other, its, part


def merge(context: Context, run_id: str, job: Job) -> None:
    """Make exemplars of all shards, and plan the explanations."""
    made = plan.read_plan(context.artifacts, _harvest_key(context, run_id))
    if not is_complete(context.spec(run_id), context.artifacts, made):
        inputs = context.opened.inputs(context.spec(run_id), precision=made.precision)
        merge_harvest(inputs, context.artifacts, made, quiet)
    run = context.run(run_id)
    with context.ledger.write() as tx:
        jobs.finish(tx, run_id, job.job_key)
        runs.end_stage(tx, run_id, "merge")
        stages.plan_stage(tx, run_id, "explain", stages.explain_jobs(tx, run))
        events.add(tx, run_id, f"harvest done: {len(run.units)} units", worker=context.worker_id)


def probe(context: Context, run_id: str, job: Job) -> None:
    """Let the subject do what a scorer wants of it."""
    inputs = context.opened.inputs(context.spec(run_id))
    subject_tasks.run_job(context.ledger, context.run(run_id), context.explanations(run_id), inputs, job, quiet)
    with context.ledger.write() as tx:
        stages.advance(tx, run_id)


def _harvest_key(context: Context, run_id: str) -> str:
    with context.ledger.read() as tx:
        row = runs.get(tx, run_id)
    assert row is not None, run_id
    return str(row["harvest_key"])


STAGES = {"prepare": prepare, "harvest": harvest, "merge": merge, "probe": probe}
