"""Leases a run's jobs and does them, one after another, until none is left or the task's time is over.

Errors that end a run, a stop asked for elsewhere, and jobs that must wait all go to the ledger; nothing is raised to Celery.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Literal

import structlog
from sqlalchemy import Connection, RowMapping

from autointerp.calls import batch_results, batch_state
from autointerp.calls.caller import Postponed
from autointerp.errors import AutointerpError, BudgetExceeded, LedgerFailed, ProviderStopped, UsageError, exit_code_of
from autointerp.harvest.plan import MOST_TOGETHER, Interrupted
from autointerp.judges.limits.limiter import Aborted
from autointerp.ledger import batches, budgets, events, jobs, judgements, leases, runs
from autointerp.ledger.jobs import Job
from autointerp.pipeline import stages as pipeline_stages
from autointerp.questions import handlers, planned_jobs
from autointerp.spec import spec as spec_
from sae.errors import one_line
from workers import logs
from workers import stages as stages_
from workers.context import Context

log = structlog.get_logger()
FAULT_WAIT_S = 10.0


Ended = Literal["more", "moved", "nothing"]
"""How a task's time ended: with work left, with a stage of the run ended by it, or with neither."""


def stages(context: Context, run_id: str, names: Sequence[str], seconds: float) -> Ended:
    """Do jobs of stages that ask nobody, one lease at a time."""
    with _living(context) as owner:
        return _stages(context, run_id, names, seconds, owner)
    return "nothing"


def questions(context: Context, run_id: str, seconds: float) -> Ended:
    """Ask a run's due questions one after another."""
    with _living(context) as owner:
        return _questions(context, run_id, seconds, owner)
    return "nothing"


@contextmanager
def _living(context: Context) -> Iterator[str]:
    """A life to work under. Where the ledger fails, work ends; what was held is freed with that life."""
    with context.life() as owner:
        try:
            yield owner
        except LedgerFailed as error:
            log.warning("work broken off", error=str(error))


def _stages(context: Context, run_id: str, names: Sequence[str], seconds: float, owner: str) -> Ended:
    until = time.monotonic() + seconds
    ended: Ended = "nothing"
    while time.monotonic() < until and not context.stopping.is_set():
        leased = _lease(context, run_id, names, owner, 1)
        if not leased:
            return ended
        job, _ = leased[0]
        if job.stage == "harvest":
            _prepare_alike(context, run_id, owner)
        _do(context, run_id, job, owner, partial(stages_.do, context, run_id, job))
        ended = "moved"
    return "more"


def _prepare_alike(context: Context, run_id: str, owner: str) -> None:
    """Prepare other runs over the same subject and corpus first, so that one pass over a shard serves them all."""
    with context.ledger.read() as tx:
        others = leases.also(tx, run_id, planned_jobs.stage_job("prepare"))
    mine = context.spec(run_id)
    for other in others[: MOST_TOGETHER - 1]:
        its = context.spec(other)
        if (its.subject, its.corpus) == (mine.subject, mine.corpus):
            for job, _ in _lease(context, other, ("prepare",), owner, 1):
                _do(context, other, job, owner, partial(stages_.do, context, other, job))


def _questions(context: Context, run_id: str, seconds: float, owner: str) -> Ended:
    until = time.monotonic() + seconds
    spec = context.spec(run_id)
    one_by_one = [stage for stage in jobs.QUESTIONS if spec_.judge_of(spec, stage).transport == "calls"]
    for stage in set(jobs.QUESTIONS) - set(one_by_one):
        send(context, run_id, stage, until)
    while time.monotonic() < until and not context.stopping.is_set():
        taken = context.leases.take((run_id, owner), partial(_lease, context, run_id, one_by_one, owner))
        if taken is None:
            return "moved" if _advance(context, run_id) else "nothing"
        job, row = taken
        one_by_one.sort(key=lambda stage: stage != job.stage)  # it will have more
        if not _ask(context, row, job, owner):
            return "nothing"
    return "more"


def send(context: Context, run_id: str, stage: str, until: float) -> None:
    """Hand in a stage's due questions in batches."""

    def send() -> None:
        batcher = context.batcher(context.run(run_id), stage)
        while batcher.submit_due() and time.monotonic() < until and not context.stopping.is_set():
            pass

    with context.ledger.write() as tx:
        wanted = _may_begin(context, tx, runs.get(tx, run_id)) and jobs.due(tx, run_id, stage, 1)
    if wanted:
        _for_all(context, run_id, stage, send)


def tend(context: Context, batch_key: str) -> None:
    """Ask after a batch, and write down what came of it; one whose run was cancelled is stopped first."""
    with context.ledger.read() as tx:
        row = batches.get(tx, batch_key)
        of = runs.get(tx, row["run_id"]) if row else None
    if row is None or of is None:
        return
    run_id, stage = of["run_id"], row["stage"]

    def tend() -> None:
        batcher = context.batcher(context.run(run_id), stage)
        if of["state"] not in runs.LIVE and row["reason"] != batch_state.CANCELLED:
            batch_results.cancel(batcher, row)
        batch_results.process(batcher, batch_key)

    _for_all(context, run_id, stage, tend)
    _advance(context, run_id)


def _for_all(context: Context, run_id: str, stage: str, work: Callable[[], None]) -> None:
    """Do work that is of many questions at once; what it could not do is still in the ledger."""
    with logs.bind(run=run_id, stage=stage):
        try:
            work()
        except budgets.NotRunning:
            pass
        except (BudgetExceeded, ProviderStopped, UsageError) as error:
            _stop(context, run_id, stage, context.worker_id, error)
        except Exception as error:
            log.error("batch failed", error=str(error), exc_info=error)


def _may_begin(context: Context, tx: Connection, row: RowMapping | None) -> bool:
    """Whether a run is to be carried; its first work sets it running."""
    if row is None or row["carrier"] != "fleet" or row["state"] not in runs.LIVE:
        return False
    if row["state"] == "queued" and runs.start(tx, row["run_id"]):
        events.add(tx, row["run_id"], "begun", worker=context.worker_id)
    return True


def _lease(context: Context, run_id: str, stages: Sequence[str], owner: str, most: int) -> list[tuple[Job, RowMapping]]:
    """Jobs of the first stage that has any due, each with the run's row after they were planned; none of a run that is not to be
    carried."""
    with context.ledger.write() as tx:
        found = (leases.lease(tx, run_id, stage, most=most, owner=owner) for stage in stages)
        leased: list[Job] = next(filter(None, found), [])
        row = runs.get(tx, run_id) if leased else None
        if row is None or not _may_begin(context, tx, row):
            leases.put_back(tx, run_id, [job.job_key for job in leased], owner)
            return []
        return [(job, row) for job in leased]


def _ask(context: Context, row: RowMapping, job: Job, owner: str) -> bool:
    """Ask one question. Returns False when the run, or this worker, is to stop."""
    run_id = str(row["run_id"])

    def ask() -> None:
        if context.stopping.is_set():
            raise Aborted
        run = context.run(run_id, row)
        caller = context.caller(run, job.stage, owner)
        said = {} if job.stage == "explain" else context.explanations(run_id, row)
        handlers.handle_job(context.ledger, run, caller.ask, job, said)

    return _do(context, run_id, job, owner, ask)


def _do(context: Context, run_id: str, job: Job, owner: str, work: Callable[[], None]) -> bool:
    """Do a job's work, and write down how it ended otherwise than well. Returns False when the run, or this worker, is to stop."""
    with logs.bind(run=run_id, job=job.job_key[:12], stage=job.stage):
        try:
            work()
            return True
        except Postponed as pause:
            with context.ledger.write() as tx:
                leases.postpone(tx, run_id, job, owner=owner, seconds=pause.seconds, error=str(pause))
            return True
        except (Aborted, Interrupted, budgets.NotRunning):
            with context.ledger.write() as tx:
                leases.put_back(tx, run_id, [job.job_key], owner)
            return False
        except (BudgetExceeded, ProviderStopped) as error:
            with context.ledger.write() as tx:
                leases.put_back(tx, run_id, [job.job_key], owner)
            _stop(context, run_id, job.stage, owner, error)
            return False
        except LedgerFailed:
            raise
        except Exception as error:
            if isinstance(error, UsageError) and job.stage in jobs.QUESTIONS:  # such as a judge without its key
                with context.ledger.write() as tx:
                    leases.put_back(tx, run_id, [job.job_key], owner)
                _stop(context, run_id, job.stage, owner, error)
                return False
            return _fault(context, run_id, job, owner, error)


def _stop(context: Context, run_id: str, stage: str, owner: str, error: AutointerpError) -> None:
    """Stop the run for everybody, and ask again later what failed for a reason that was not its own."""
    asked = not isinstance(error, UsageError)
    doubted = context.caller(context.run(run_id), stage, owner).suspect_error_kind if asked else None
    with context.ledger.write() as tx:
        if not runs.stop(tx, run_id, str(error), exit_code_of(error)):
            return
        if doubted:
            judgements.withdraw(tx, run_id, judgements.failed(tx, run_id, doubted))
        events.add(tx, run_id, f"stopped: {error}", level="error", worker=context.worker_id)
    log.error("run stopped", reason=str(error))


def _fault(context: Context, run_id: str, job: Job, owner: str, error: Exception) -> bool:
    """An input that cannot be used fails the run at once; any other error is tried again a few times."""
    final = stages_.is_final(error)
    said = one_line(error, most=1000)
    expected = isinstance(error, AutointerpError) or final
    log.error("job failed", error=said, exc_info=None if expected else error)
    with context.ledger.write() as tx:
        if final:
            jobs.fail(tx, run_id, job.job_key, said)
            runs.set_state(tx, run_id, "failed", said)
            events.add(tx, run_id, f"failed: {said}", level="error", worker=owner)
        else:
            leases.fault(tx, run_id, job, owner=owner, error=f"{type(error).__name__}: {said}", seconds=FAULT_WAIT_S)
    return not final


def _advance(context: Context, run_id: str) -> bool:
    with context.ledger.write() as tx:
        return pipeline_stages.advance(tx, run_id)
