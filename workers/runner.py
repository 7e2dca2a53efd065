"""Leases a run's jobs and does them, one after another, until none is left or the task's time is over.

Every outcome goes to the ledger: errors that end a run, stops, and jobs that must wait. Nothing is raised to Celery.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Literal

import structlog
from sqlalchemy import Connection, RowMapping

from autointerp.calls import batch_results, batch_state, server_probe
from autointerp.calls.breaker import FirstRepliesUnusable
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
RETRY_AFTER_ERROR_S = 10.0
"""How long a job waits after an unexpected error."""
TaskResult = Literal["more", "moved", "nothing"]
"""What a task leaves behind: `more` work of its kind, a run `moved` to its next stage, or `nothing` to do."""


def stages(context: Context, run_id: str, names: Sequence[str], seconds: float) -> TaskResult:
    """Do jobs of stages without questions to a judge, one lease at a time."""
    with _lease_owner(context) as owner:
        return _stages(context, run_id, names, seconds, owner)
    return "nothing"


def questions(context: Context, run_id: str, seconds: float) -> TaskResult:
    """Ask a run's due questions, one after another."""
    with _lease_owner(context) as owner:
        return _questions(context, run_id, seconds, owner)
    return "nothing"


@contextmanager
def _lease_owner(context: Context) -> Iterator[str]:
    """The worker id that holds this task's leases. If the ledger fails the task ends, and the id's leases are freed later."""
    with context.lease_owner() as owner:
        try:
            yield owner
        except LedgerFailed as error:
            log.warning("task ended because the ledger failed", error=str(error))


def _stages(context: Context, run_id: str, names: Sequence[str], seconds: float, owner: str) -> TaskResult:
    until = time.monotonic() + seconds
    result: TaskResult = "nothing"
    while time.monotonic() < until and not context.stopping.is_set():
        leased = _lease(context, run_id, names, owner, 1)
        if not leased:
            return result
        job, _ = leased[0]
        if job.stage == "harvest":
            _prepare_same_corpus(context, run_id, owner)
        _do(context, run_id, job, owner, partial(stages_.run_job, context, run_id, job))
        result = "moved"
    return "more"


def _prepare_same_corpus(context: Context, run_id: str, owner: str) -> None:
    """Prepare other runs over the same subject and corpus first, so that one pass over a shard can serve them all."""
    with context.ledger.read() as tx:
        others = leases.matching_in_other_runs(tx, run_id, planned_jobs.stage_job("prepare"))
    spec = context.spec(run_id)
    for other_id in others[: MOST_TOGETHER - 1]:
        other = context.spec(other_id)
        if (other.subject, other.corpus) == (spec.subject, spec.corpus):
            for job, _ in _lease(context, other_id, ("prepare",), owner, 1):
                _do(context, other_id, job, owner, partial(stages_.run_job, context, other_id, job))


def _questions(context: Context, run_id: str, seconds: float, owner: str) -> TaskResult:
    until = time.monotonic() + seconds
    spec = context.spec(run_id)
    one_by_one = [stage for stage in jobs.QUESTIONS if spec_.judge_of(spec, stage).transport == "calls"]
    for stage in set(jobs.QUESTIONS) - set(one_by_one):
        submit_batches(context, run_id, stage, until)
    while time.monotonic() < until and not context.stopping.is_set():
        taken = context.leases.take((run_id, owner), partial(_lease, context, run_id, one_by_one, owner))
        if taken is None:
            return "moved" if _advance(context, run_id) else "nothing"
        job, row = taken
        one_by_one.sort(key=lambda stage: stage != job.stage)  # try this stage first next time: it has more jobs
        if not _ask(context, row, job, owner):
            return "nothing"
    return "more"


def submit_batches(context: Context, run_id: str, stage: str, until: float) -> None:
    """Submit a stage's due questions in provider batches."""

    def submit_all() -> None:
        batcher = context.batcher(context.run(run_id), stage)
        while batcher.submit_due() and time.monotonic() < until and not context.stopping.is_set():
            pass

    with context.ledger.write() as tx:
        has_work = _may_begin(context, tx, runs.get(tx, run_id)) and jobs.count_due(tx, run_id, stage, 1)
    if has_work:
        _do_batched(context, run_id, stage, submit_all)


def tend(context: Context, batch_key: str) -> None:
    """Poll a provider batch and store its results. A batch whose run is no longer live is cancelled first."""
    with context.ledger.read() as tx:
        row = batches.get(tx, batch_key)
        run_row = runs.get(tx, row["run_id"]) if row else None
    if row is None or run_row is None:
        return
    run_id, stage = run_row["run_id"], row["stage"]

    def poll() -> None:
        batcher = context.batcher(context.run(run_id), stage)
        if run_row["state"] not in runs.LIVE and row["reason"] != batch_state.CANCELLED:
            batch_results.cancel(batcher, row)
        batch_results.process(batcher, batch_key)

    _do_batched(context, run_id, stage, poll)
    _advance(context, run_id)


def _do_batched(context: Context, run_id: str, stage: str, work: Callable[[], None]) -> None:
    """Do work that concerns many questions at once. Whatever it could not do is still in the ledger."""
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
    """Whether the workers may work on a run. The first time, this sets it running."""
    if row is None or not runs.is_with_workers(row):
        return False
    if row["state"] == "queued" and runs.start(tx, row["run_id"]):
        events.add(tx, row["run_id"], "started", worker=context.worker_id)
    return True


def _lease(context: Context, run_id: str, stages: Sequence[str], owner: str, most: int) -> list[tuple[Job, RowMapping]]:
    """Lease due jobs of the first stage that has any, each with the run's row; none if the workers may not work on the run.

    The row is read after leasing, so that it is not older than the jobs: explanations and specs are looked up by it.
    """
    with context.ledger.write() as tx:
        attempts = (leases.lease(tx, run_id, stage, most=most, owner=owner) for stage in stages)
        leased: list[Job] = next(filter(None, attempts), [])
        row = runs.get(tx, run_id) if leased else None
        if row is None or not _may_begin(context, tx, row):
            leases.put_back(tx, run_id, [job.job_key for job in leased], owner)
            return []
        return [(job, row) for job in leased]


def _ask(context: Context, row: RowMapping, job: Job, owner: str) -> bool:
    """Ask one question. Returns False if the run or this worker must stop."""
    run_id = str(row["run_id"])

    def ask() -> None:
        if context.stopping.is_set():
            raise Aborted
        run = context.run(run_id, row)
        caller = context.caller(run, job.stage, owner)
        server_probe.settle(caller, spec_.judge_of(run.spec, job.stage))
        explanations = {} if job.stage == "explain" else context.explanations(run_id, row)
        handlers.handle_job(context.ledger, run, caller.ask, job, explanations)

    return _do(context, run_id, job, owner, ask)


def _do(context: Context, run_id: str, job: Job, owner: str, work: Callable[[], None]) -> bool:
    """Do a job's work, and record any outcome but success. Returns False if the run or this worker must stop."""
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
            if isinstance(error, FirstRepliesUnusable):
                context.forget_callers(run_id)
                return False
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
            return _record_failure(context, run_id, job, owner, error)


def _stop(context: Context, run_id: str, stage: str, owner: str, error: AutointerpError) -> None:
    """Stop the run for all workers. Answers that failed for the same cause as the stop are withdrawn, to be asked again."""
    has_caller = not isinstance(error, UsageError)  # without its key, for example, a judge cannot be opened
    suspect_error = context.caller(context.run(run_id), stage, owner).suspect_error_kind if has_caller else None
    context.forget_callers(run_id)
    with context.ledger.write() as tx:
        if not runs.stop(tx, run_id, str(error), exit_code_of(error)):
            return
        if suspect_error:
            judgements.withdraw(tx, run_id, judgements.failed(tx, run_id, suspect_error))
        events.add(tx, run_id, f"stopped: {error}", level="error", worker=context.worker_id)
    log.error("run stopped", reason=str(error))


def _record_failure(context: Context, run_id: str, job: Job, owner: str, error: Exception) -> bool:
    """Fail the run at once if an input is unusable; let the job wait for another attempt after any other error."""
    final = stages_.is_final(error)
    message = one_line(error, most=1000)
    expected = isinstance(error, AutointerpError) or final
    log.error("job failed", error=message, exc_info=None if expected else error)
    with context.ledger.write() as tx:
        if final:
            jobs.fail(tx, run_id, job.job_key, message)
            runs.set_state(tx, run_id, "failed", message)
            events.add(tx, run_id, f"failed: {message}", level="error", worker=owner)
        else:
            leases.fail_attempt(
                tx, run_id, job, owner=owner, error=f"{type(error).__name__}: {message}", seconds=RETRY_AFTER_ERROR_S
            )
    return not final


def _advance(context: Context, run_id: str) -> bool:
    with context.ledger.write() as tx:
        return pipeline_stages.advance(tx, run_id)
