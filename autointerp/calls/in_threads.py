"""Questions asked on several threads until all are answered or one error stops them, as a judge's check and studies ask theirs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

from autointerp.calls import server_probe
from autointerp.calls.caller import Caller, Postponed
from autointerp.errors import exit_code_of
from autointerp.judges.limits.limiter import Aborted
from autointerp.ledger import runs
from autointerp.progress import Progress
from autointerp.spec.judge_sections import Judge as JudgeSettings
from sae.errors import one_line

T = TypeVar("T")
PHASE = "asking the judge"
"""Name of the progress bar."""


def ask_all(
    caller: Caller, settings: JudgeSettings, questions: Sequence[Callable[[], T]], progress: Progress
) -> list[T]:
    """The results of the questions in their order, each a function that asks through `caller`. Postponed ones are asked again.

    The judge's server is looked at first. Raises the error that stopped one of them; the answers until then are in the ledger.
    """
    if line := server_probe.settle_patiently(caller, settings):
        progress.note(line)
    pool = ThreadPoolExecutor(caller.concurrency, thread_name_prefix="ask")
    futures = [pool.submit(_patiently, caller, question) for question in questions]
    waiting = set(futures)
    try:
        while waiting:
            done, waiting = wait(waiting, timeout=0.25, return_when=FIRST_EXCEPTION)
            if any(future.exception() for future in done):
                break
            if done and (progress.wants_update() or not waiting):
                progress.update(PHASE, len(futures) - len(waiting), len(futures), spent_usd=_spent(caller))
    except KeyboardInterrupt:
        progress.note("stopping: waiting for the replies of calls in flight, which may be billed")
        raise
    finally:
        caller.abort()
        pool.shutdown(wait=True, cancel_futures=True)
    ended = [future.exception() for future in futures if not future.cancelled()]
    errors = [error for error in ended if error is not None]
    if errors:
        # `Aborted` is only a consequence of the error that stopped the others.
        raise next((error for error in errors if not isinstance(error, Aborted)), errors[0])
    return [future.result() for future in futures]


def ask_run(
    caller: Caller, settings: JudgeSettings, questions: Sequence[Callable[[], T]], progress: Progress
) -> list[T]:
    """As `ask_all`, for a run of these questions alone: the ledger notes how the run ended."""
    try:
        results = ask_all(caller, settings, questions, progress)
    except BaseException as error:
        with caller.ledger.write() as tx:
            runs.set_state(tx, caller.run_id, "stopped", one_line(error), exit_code_of(error))
        raise
    with caller.ledger.write() as tx:
        runs.set_state(tx, caller.run_id, "done")
    return results


def _patiently(caller: Caller, question: Callable[[], T]) -> T:
    """The question's result. An error aborts all other questions, which would fail in the same way."""
    try:
        while True:
            try:
                return question()
            except Postponed as pause:
                caller.limiter.sleep(pause.seconds)
    except BaseException:
        caller.abort()
        raise


def _spent(caller: Caller) -> float | None:
    with caller.ledger.read() as tx:
        row = runs.get(tx, caller.run_id)
    return float(row["spent_usd"]) if row else None
