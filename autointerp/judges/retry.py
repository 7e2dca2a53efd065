"""Short waits: one question asked again after passing failures, a few times and for at most half a minute each.

Longer waits are not sat out here: they go back to the ledger, which holds the item until its time.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import tenacity

from autointerp.judges.base import ItemFailed, JudgeError, MayRetry, MustWait
from autointerp.messages import Reply

ATTEMPTS = 4
LONGEST_WAIT_S = 30.0

_backoff = tenacity.wait_exponential_jitter(multiplier=0.5, max=LONGEST_WAIT_S, jitter=0.5)


def _nothing(number: int, outcome: Reply | JudgeError) -> None:
    """The default callback."""


def attempt(
    call: Callable[[], Reply],
    *,
    attempts: int = ATTEMPTS,
    longest_wait_s: float = LONGEST_WAIT_S,
    on_attempt: Callable[[int, Reply | JudgeError], None] = _nothing,
    pause: Callable[[float], None] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Reply:
    """The reply of `call`, which makes one attempt each time.

    `MayRetry`, and `MustWait` of at most `longest_wait_s`, are tried again after the larger of the asked wait and an
    exponential backoff with jitter. `on_attempt` learns how each attempt ended, numbered from 1, before any wait;
    `pause` is told how long a `MustWait` holds everybody. Raises `MustWait` when the wait is long or attempts run
    out, `ItemFailed` when a passing failure does not pass, and `ItemFailed` and `MustStop` at once.
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

    def worth_it(error: BaseException) -> bool:
        if isinstance(error, MustWait):
            return (error.retry_after_s or 0.0) <= longest_wait_s
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
        retry=tenacity.retry_if_exception(worth_it),
        sleep=sleep,
        reraise=True,
    )
    try:
        return retrying(once)
    except MayRetry as error:
        failed = ItemFailed(f"{error} ({number} attempts)", reason="provider_error", usage=error.usage)
    raise failed
