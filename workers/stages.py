"""The stages of a run that ask nobody: preparing, reading shards, merging, planning, finishing."""

from __future__ import annotations

from collections.abc import Iterator

from autointerp.calls.caller import Postponed
from autointerp.errors import AutointerpError, UsageError
from autointerp.harvest import plan, shards
from autointerp.harvest.plan import HarvestPlanFile
from autointerp.harvest.shards import Interrupted
from autointerp.judges import registry
from autointerp.ledger import events, jobs, leases, runs
from autointerp.ledger.jobs import Job
from autointerp.pipeline import finish, stages
from autointerp.progress import quiet
from autointerp.questions import planned_jobs, subject_tasks
from autointerp.report.index import write as write_index
from sae.errors import SaeError
from workers.context import Context

__all__ = ["Interrupted", "do", "is_final"]
SAME_HARVEST_S = 10.0
"""How long a run waits before it looks again whether another has made the harvest that it needs."""


def do(context: Context, run_id: str, job: Job) -> None:
    """Do the work of one job and plan what follows from it."""
    work = {
        "prepare": _prepare,
        "harvest": _harvest,
        "merge": _merge,
        "plan": _plan,
        "probe": _probe,
        "finish": _finish,
    }
    work[job.stage](context, run_id, job)


def is_final(error: Exception) -> bool:
    """Whether trying again cannot help: the spec or an input is wrong."""
    return isinstance(error, (UsageError, SaeError))


def _prepare(context: Context, run_id: str, job: Job) -> None:
    """Open the inputs and settle the harvest's plan; runs that need the same harvest wait for the first of them."""
    inputs = context.opened.inputs(context.spec(run_id))
    made = shards.begin_harvest(inputs, context.artifacts)
    finished = shards.finished_harvest(context.artifacts, made.key) is not None
    with context.ledger.write() as tx:
        if finished:
            runs.set_harvest(tx, run_id, made.key)
        elif not runs.begin_harvest(tx, run_id, made.key):
            raise Postponed("another run is reading the same harvest", SAME_HARVEST_S)
        jobs.finish(tx, run_id, job.job_key)
        if finished:
            stages.begin(tx, run_id, "merge")
        else:
            stages.begin(
                tx, run_id, "harvest", [planned_jobs.stage_job("harvest", number) for number in range(made.shards)]
            )
        what = "harvest found" if finished else f"harvest begun in {made.shards} shards"
        events.add(tx, run_id, what, worker=context.worker_id)


def _harvest(context: Context, run_id: str, job: Job) -> None:
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
    context: Context, run_id: str, job: Job, made: HarvestPlanFile, owner: str
) -> Iterator[tuple[str, Job, shards.Part]]:
    """Jobs of other runs that the same pass can serve, leased one by one; one whose inputs cannot be used is left to itself."""
    with context.ledger.read() as tx:
        others = leases.also(tx, run_id, job)
    for other in others[: shards.MOST_TOGETHER - 1]:
        try:
            its_plan = plan.read_plan(context.artifacts, _harvest_key(context, other))
            if its_plan.pass_key != made.pass_key:
                continue
            part = shards.Part(context.opened.inputs(context.spec(other), precision=its_plan.precision), its_plan)
        except (AutointerpError, SaeError):
            continue
        with context.ledger.write() as tx:
            its = leases.lease_at(tx, other, job, owner=owner)
        if its is not None:
            yield other, its, part


def _merge(context: Context, run_id: str, job: Job) -> None:
    """Make exemplars of all shards, and plan the explanations."""
    made = plan.read_plan(context.artifacts, _harvest_key(context, run_id))
    if not shards.is_complete(context.spec(run_id), context.artifacts, made):
        inputs = context.opened.inputs(context.spec(run_id), precision=made.precision)
        shards.merge_harvest(inputs, context.artifacts, made, quiet)
    run = context.run(run_id)
    with context.ledger.write() as tx:
        jobs.finish(tx, run_id, job.job_key)
        runs.end_stage(tx, run_id, "merge")
        stages.begin(tx, run_id, "explain", stages.explaining(tx, run))
        events.add(tx, run_id, f"harvest done: {len(run.units)} units", worker=context.worker_id)


def _plan(context: Context, run_id: str, job: Job) -> None:
    """Plan a round of questions. Until this job is done, nothing follows from how far they are answered."""
    run = context.run(run_id)
    found = stages.plan_round(context.ledger, run, job.place)
    with context.ledger.write() as tx:
        stages.end_planning(tx, run_id, job.place, found)
        if not found.jobs:
            stages.after_round(tx, run_id)
        what = "scoring begun" if job.place == 0 else f"round {job.place + 1}"
        events.add(tx, run_id, f"{what}: {len(found.jobs):,} questions", worker=context.worker_id)


def _probe(context: Context, run_id: str, job: Job) -> None:
    """Let the subject do what a scorer wants of it."""
    inputs = context.opened.inputs(context.spec(run_id))
    subject_tasks.do(context.ledger, context.run(run_id), context.explanations(run_id), inputs, job, quiet)
    with context.ledger.write() as tx:
        stages.advance(tx, run_id)


def _finish(context: Context, run_id: str, job: Job) -> None:
    """Tables, statistics, report, and the index's row."""
    run = context.run(run_id)
    facts = registry.facts_of(run.spec)
    command = f"autointerp submit {run.spec.name}.toml"
    summary = finish.write_results(context.ledger, run, judge_facts=facts, command=command)
    write_index(context.settings.results)
    with context.ledger.write() as tx:
        jobs.finish(tx, run_id, job.job_key)
        finish.conclude(tx, run_id, summary)


def _harvest_key(context: Context, run_id: str) -> str:
    with context.ledger.read() as tx:
        row = runs.get(tx, run_id)
    assert row is not None, run_id
    return str(row["harvest_key"])
