"""Executes a run in this process: questions on a pool of threads or in provider batches, then the report.

Every outcome is committed when it arrives, so after Ctrl-C or `kill -9` the same command continues where it stopped.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager, suppress

from sqlalchemy import Connection

from autointerp.calls import batch_results, server_probe
from autointerp.calls.answers import Ask
from autointerp.calls.batches import Batcher
from autointerp.calls.caller import Caller, Postponed
from autointerp.calls.cost_limits import run_limits
from autointerp.errors import EXPECTED, LedgerFailed, UsageError, exit_code_of
from autointerp.findings.summary import Summary
from autointerp.harvest.inputs import OpenInputs
from autointerp.judges.base import Judge
from autointerp.judges.limits.limiter import Limiter, LocalLimiter
from autointerp.judges.registry import Judges, open_batches
from autointerp.ledger import batches, calls, events, jobs, judgements, leases, runs
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import Job
from autointerp.ledger.run_lock import run_lock
from autointerp.pipeline import finish, stages
from autointerp.progress import Progress
from autointerp.questions import handlers, subject_tasks
from autointerp.records import Explanation, ExplanationKey
from autointerp.run import Run
from autointerp.spec import spec as spec_
from autointerp.spec.judge_sections import Judge as JudgeSettings
from autointerp.spec.providers import judge_facts
from autointerp.studies import of_spec
from autointerp.studies.judging import Payer

CHUNK = 64
FREE_CHUNK = 256
"""Jobs of a judge that calls nobody that are done in one transaction: a tenth of a second."""
BATCH_LOOK_S = 1.0
OWNER = "local"
"""Owner of the leases of a run in one process. The run's lock excludes other processes, and the next one releases the leases."""


def execute_run(
    run: Run,
    ledger: Ledger,
    progress: Progress,
    *,
    judges: Judges | None = None,
    command: Sequence[str] = (),
    open_: OpenInputs | None = None,
    agreed: bool = False,
) -> Summary:
    """Ask all of a run's questions, write its report, carry out the studies of its spec and return its summary.

    An error that stops it is recorded, then raised; that of a study is only recorded.

    `judges` and `open_`, if they are given, replace the judges that the spec names, and the function that opens its inputs. `agreed`: studies
    may ask a judge without a budget.
    """
    judges = judges or Judges.open(run.spec, run.rubric)
    with _held(run, ledger, progress, judges):
        _explain_and_score(run, ledger, progress, judges, open_)
        progress.update("writing the report", 0, 0)
        facts = judge_facts(judges.judge.name, judges.explainer.name)
        summary = finish.write_results(ledger, run, judge_facts=facts, command=shlex.join(command))
        failed = of_spec.failures(run, Payer(ledger, run.run_id, agreed=agreed), progress)
        with ledger.write() as tx:
            finish.mark_done(tx, run.run_id, summary, failed)
        return summary


def answer_run(
    run: Run, ledger: Ledger, progress: Progress, judges: Judges, open_: OpenInputs, *, only_explain: bool = False
) -> None:
    """Ask a run's questions, or only its explainer's, and write no results: `execute_run` continues it. Raises as that does."""
    with _held(run, ledger, progress, judges):
        if only_explain:
            limiters = {settings: LocalLimiter.of(settings) for settings in run.spec.judges}
            ask_stage(run, ledger, progress, judges.explainer, "explain", {}, limiters)
        else:
            _explain_and_score(run, ledger, progress, judges, open_)
        with ledger.write() as tx:
            runs.stop(tx, run.run_id, "asked, and no results written", 0)


@contextmanager
def _held(run: Run, ledger: Ledger, progress: Progress, judges: Judges) -> Iterator[None]:
    """Within the block, this process alone executes the run; at its end the judges are closed. An error is recorded, then raised."""
    with ExitStack() as stack:
        stack.enter_context(run_lock(ledger, run.folder.parent, run.run_id))
        stack.callback(judges.close)
        _resume(run, ledger, progress)
        try:
            yield
        except BaseException as error:
            _record_stop(run, ledger, error)
            raise


def _record_stop(run: Run, ledger: Ledger, error: BaseException) -> None:
    """Record why a run stopped, unless it is recorded. If the ledger cannot be written either, the first error is the one to show."""
    reason = str(error) if isinstance(error, EXPECTED) else type(error).__name__
    with suppress(LedgerFailed), ledger.write() as tx:
        if runs.stop(tx, run.run_id, reason, exit_code_of(error)):
            events.add(tx, run.run_id, f"stopped: {reason}", level="warning")


def _resume(run: Run, ledger: Ledger, progress: Progress) -> None:
    """Register the run and release what a killed process held. Raises `UsageError` for a run that the workers execute."""
    with ledger.read() as tx:
        known = runs.get(tx, run.run_id)
    if known is not None and runs.is_with_workers(known):
        raise UsageError(
            f"run {run.run_id} is executed by the workers: `autointerp status {run.run_id}` shows it; cancel it with"
            f" `autointerp cancel {run.run_id}` first to run it here"
        )
    stages.register(ledger, run)
    with ledger.write() as tx:
        jobs.delete_plans_before_explanations(tx, run.run_id)
        lost = release_held(tx, run.run_id)
        events.add(tx, run.run_id, "started in one process" if known is None else "resumed in one process")
    if lost:
        progress.note(f"{lost} calls were in flight when this run was killed: they may have been billed")


def release_held(tx: Connection, run_id: str) -> int:
    """Release what a killed process held of a run. Returns the number of its calls in flight, which may have been billed."""
    leases.release(tx, run_id)
    batches.release_claims(tx, run_id)
    return calls.write_off(tx, run_id)


def _explain_and_score(run: Run, ledger: Ledger, progress: Progress, judges: Judges, open_: OpenInputs | None) -> None:
    # One limiter for each account and model, so that the tokens of explaining count when scoring begins.
    limiters = {settings: LocalLimiter.of(settings) for settings in run.spec.judges}
    ask_stage(run, ledger, progress, judges.explainer, "explain", {}, limiters)
    with ledger.read() as tx:
        explanations = judgements.explanations_of(tx, run.run_id)
    while True:
        ask_stage(run, ledger, progress, judges.judge, "score", explanations, limiters)
        _do_subject_tasks(run, ledger, explanations, progress, open_)
        if judges.second is not None:
            ask_stage(run, ledger, progress, judges.second, "regrade", explanations, limiters)
        with ledger.read() as tx:
            number = jobs.next_place(tx, run.run_id, "plan")
        if number is None:
            return
        round_ = stages.plan_round(ledger, run, number)
        with ledger.write() as tx:
            stages.end_planning(tx, run.run_id, number, round_)


def _do_subject_tasks(
    run: Run,
    ledger: Ledger,
    explanations: Mapping[ExplanationKey, Explanation],
    progress: Progress,
    open_: OpenInputs | None,
) -> None:
    with ledger.read() as tx:
        if not jobs.exists(tx, run.run_id, ["probe"], jobs.UNFINISHED):
            return
    subject_tasks.run_all(ledger, run, explanations, progress.update, OWNER, open_)


def ask_stage(
    run: Run,
    ledger: Ledger,
    progress: Progress,
    judge: Judge,
    stage: str,
    explanations: Mapping[ExplanationKey, Explanation],
    limiters: Mapping[JudgeSettings, Limiter],
) -> None:
    """Do every job of a stage, by single calls or in batches."""
    settings, limits = spec_.judge_of(run.spec, stage), run_limits(run.spec)
    with ledger.read() as tx:
        if not jobs.exists(tx, run.run_id, [stage], jobs.UNFINISHED):
            return
    started = time.monotonic()
    try:
        if settings.transport == "batch":
            provider = open_batches(settings)
            assert provider is not None, settings.model
            with closing(provider):

                def handle(job: Job, ask: Ask) -> None:
                    handlers.handle_job(ledger, run, ask, job, explanations)

                batcher = Batcher(ledger, run.run_id, stage, settings, judge, provider, limits, OWNER, handle)
                _work_in_batches(run, batcher, progress)
        else:
            caller = Caller(ledger, run.run_id, judge, settings, limits, limiter=limiters[settings])
            caller.watch.notify = progress.note
            if line := server_probe.settle_patiently(caller, settings):
                progress.note(line)
            _work(
                run,
                ledger,
                progress,
                stage,
                caller,
                lambda job: handlers.handle_job(ledger, run, caller.ask, job, explanations),
            )
    finally:
        with ledger.write() as tx:
            runs.add_time(tx, run.run_id, stage, time.monotonic() - started)
    _show(run, ledger, progress, stage, last=True)


def _work(
    run: Run, ledger: Ledger, progress: Progress, stage: str, caller: Caller, handle: Callable[[Job], None]
) -> None:
    """Do every job of a stage on the caller's threads, waiting for postponed ones."""
    if not caller.judge.is_llm:
        return _work_in_chunks(run, ledger, progress, stage, handle)
    pool = ThreadPoolExecutor(caller.concurrency, thread_name_prefix=stage)
    busy: dict[Future[None], Job] = {}
    try:
        for job in _due(run, ledger, stage, caller, busy):
            busy[pool.submit(handle, job)] = job
            if len(busy) >= 2 * caller.concurrency:
                _collect(run, ledger, busy)
            _show(run, ledger, progress, stage)
    except KeyboardInterrupt:
        caller.abort()
        progress.note(
            "stopping: waiting for the replies to calls in flight, which may be billed; Ctrl-C again abandons them"
        )
        raise
    finally:
        caller.abort()
        pool.shutdown(wait=True, cancel_futures=True)
        with ledger.write() as tx:
            leases.release(tx, run.run_id)
            if caller.suspect_error_kind:
                judgements.withdraw(tx, run.run_id, judgements.failed(tx, run.run_id, caller.suspect_error_kind))
        caller.reset()


def _work_in_chunks(run: Run, ledger: Ledger, progress: Progress, stage: str, handle: Callable[[Job], None]) -> None:
    """Do every job of a stage for a judge that calls nobody. A chunk of answers is one transaction; a stop keeps those it has."""
    try:
        while True:
            with ledger.write() as tx:
                leased = leases.lease(tx, run.run_id, stage, most=FREE_CHUNK, owner=OWNER)
            if not leased:
                return
            stopped: BaseException | None = None
            with ledger.together():
                try:
                    for job in leased:
                        handle(job)
                except BaseException as error:
                    stopped = error
            if stopped is not None:
                raise stopped
            _show(run, ledger, progress, stage)
    finally:
        with ledger.write() as tx:
            leases.release(tx, run.run_id)


def _work_in_batches(run: Run, batcher: Batcher, progress: Progress) -> None:
    """Do every job of a stage in provider batches. Batches that an earlier process submitted are adopted."""
    ledger, stage = batcher.ledger, batcher.stage
    progress.note(
        f"{stage}: in batches, which take up to a day; after Ctrl-C the provider continues, and the same command fetches the results"
    )
    while True:
        while batcher.submit_due():
            pass
        with ledger.read() as tx:
            due = [row["batch_key"] for row in batches.due(tx) if row["run_id"] == run.run_id]
            if not jobs.exists(tx, run.run_id, [stage], jobs.UNFINISHED):
                return
        for batch_key in due:
            batch_results.process(batcher, batch_key)
        with ledger.write() as tx:
            for job, error in jobs.exhausted(tx, run.run_id):
                stages.fail_permanently(tx, run.run_id, job, error)
        _show(run, ledger, progress, stage)
        if not due:
            time.sleep(BATCH_LOOK_S)


def _due(run: Run, ledger: Ledger, stage: str, caller: Caller, busy: dict[Future[None], Job]) -> Iterator[Job]:
    """Jobs of a stage when they become due, until none is left."""
    while True:
        with ledger.write() as tx:
            leased = leases.lease(tx, run.run_id, stage, most=CHUNK, owner=OWNER)
        yield from leased
        if leased:
            continue
        if busy:
            _collect(run, ledger, busy)
            continue
        with ledger.read() as tx:
            due = jobs.next_due(tx, run.run_id, stage)
        if due is None:
            return
        time.sleep(max(0.0, due - time.time()))


def _collect(run: Run, ledger: Ledger, busy: dict[Future[None], Job]) -> None:
    """Wait until a job ends. A postponed one returns to the ledger; an error that stops the run is raised."""
    done, _ = wait(busy, return_when=FIRST_COMPLETED)
    for future in done:
        job = busy.pop(future)
        try:
            future.result()
        except Postponed as pause:
            with ledger.write() as tx:
                leases.postpone(tx, run.run_id, job, owner=OWNER, seconds=pause.seconds, error=str(pause))


def _show(run: Run, ledger: Ledger, progress: Progress, stage: str, *, last: bool = False) -> None:
    if not (last or progress.wants_update()):
        return
    with ledger.read() as tx:
        states = jobs.counts(tx, run.run_id).get(stage, {})
        row = runs.get(tx, run.run_id)
    spent = row["spent_usd"] if row else 0.0
    progress.update(stage, states.get("done", 0), sum(states.values()), spent_usd=spent)
