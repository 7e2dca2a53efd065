"""Retries of one question after transient failures: a few attempts, with waits of at most half a minute.

Longer waits go back to the ledger, which keeps the item until it is due.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import tenacity

from autointerp.judges.base import ItemFailed, JudgeError, MayRetry, MustWait
from autointerp.messages import Reply

MAX_ATTEMPTS = 4
MAX_WAIT_S = 30.0

_backoff = tenacity.wait_exponential_jitter(multiplier=0.5, max=MAX_WAIT_S, jitter=0.5)


def _ignore(number: int, outcome: Reply | JudgeError) -> None:
    pass


def with_retries(
    call: Callable[[], Reply],
    *,
    attempts: int = MAX_ATTEMPTS,
    max_wait_s: float = MAX_WAIT_S,
    on_attempt: Callable[[int, Reply | JudgeError], None] = _ignore,
    pause: Callable[[float], None] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Reply:
    """Return the reply of `call`, which makes one attempt each time it is called.

    After `MayRetry`, and after `MustWait` of at most `max_wait_s`, tries again. The wait is the larger of the requested one and an
    exponential backoff with jitter. `on_attempt` gets the number (from 1) and the outcome of each attempt before any wait; `pause` gets
    the seconds of each `MustWait`, which apply to all callers. Raises `MustWait` if the wait is longer or attempts run out,
    `ItemFailed` if `MayRetry` persists, and `ItemFailed` and `MustStop` at once.
    """
    number = 0

    def once() -> Reply:
        nonlocal number
        number += 1
        try:
            reply = call()
        except JudgeError as error:
            on_attempt(number, error)
            raise
        on_attempt(number, reply)
        return reply

    def is_transient(error: BaseException) -> bool:
        if isinstance(error, MustWait):
            return (error.retry_after_s or 0.0) <= max_wait_s
        return isinstance(error, MayRetry)

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        seconds = float(_backoff(state))
        if isinstance(error, MustWait):
            seconds = max(seconds, error.retry_after_s or 0.0)
            if pause is not None:
                pause(seconds)
        return seconds

    retrying = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(attempts),
        wait=wait,
        retry=tenacity.retry_if_exception(is_transient),
        sleep=sleep,
        reraise=True,
    )
    try:
        return retrying(once)
    except MayRetry as error:
        failed = ItemFailed(f"{error} ({number} attempts)", reason="provider_error", usage=error.usage)
    raise failed
