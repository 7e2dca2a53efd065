"""Retries: which outcomes are tried again, how often, after which wait, and which callbacks are called."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from autointerp.judges import retry
from autointerp.judges.base import ItemFailed, JudgeError, MayRetry, MustStop, MustWait
from autointerp.messages import Reply, Usage

REPLY = Reply("{}", "complete", Usage(1, 1), "model")


class ScriptedCall:
    """A call whose attempts end as scripted, and everything that `with_retries` passed to its callbacks."""

    def __init__(self, *ends: Reply | JudgeError) -> None:
        self.ends = list(ends)
        self.attempts: list[tuple[int, str]] = []
        self.sleeps: list[float] = []
        self.pauses: list[float] = []

    def run(self, **changes: int) -> Reply:
        return retry.with_retries(
            self._call, on_attempt=self._note, pause=self.pauses.append, sleep=self.sleeps.append, **changes
        )

    def _call(self) -> Reply:
        end = self.ends.pop(0)
        if isinstance(end, JudgeError):
            raise end
        return end

    def _note(self, number: int, outcome: Reply | JudgeError) -> None:
        self.attempts.append((number, type(outcome).__name__))


def test_transient_failures_are_tried_again() -> None:
    script = ScriptedCall(MayRetry("a"), MustWait("b"), REPLY)
    assert script.run() is REPLY
    assert script.attempts == [(1, "MayRetry"), (2, "MustWait"), (3, "Reply")]
    assert len(script.sleeps) == 2


def test_a_persistent_failure_fails_the_item() -> None:
    script = ScriptedCall(*(MayRetry(f"broken {n}") for n in range(9)))
    with pytest.raises(ItemFailed, match=r"broken 3 \(4 attempts\)") as caught:
        script.run()
    assert caught.value.reason == "provider_error"
    assert caught.value.__context__ is None
    assert len(script.attempts) == 4


def test_a_requested_wait_is_kept_and_pauses_all_callers() -> None:
    script = ScriptedCall(MustWait("slow down", retry_after_s=25.0), REPLY)
    script.run()
    assert script.sleeps == script.pauses == [25.0]


def test_a_retry_does_not_pause_other_callers() -> None:
    script = ScriptedCall(MayRetry("a"), REPLY)
    script.run()
    assert script.pauses == []


def test_a_long_wait_is_raised_at_once() -> None:
    script = ScriptedCall(MustWait("tomorrow", retry_after_s=3600.0), REPLY)
    with pytest.raises(MustWait) as caught:
        script.run()
    assert caught.value.retry_after_s == 3600.0
    assert script.sleeps == []


def test_repeated_short_waits_are_raised_after_the_last_attempt() -> None:
    script = ScriptedCall(*(MustWait("again", retry_after_s=1.0) for _ in range(9)))
    with pytest.raises(MustWait):
        script.run()
    assert len(script.attempts) == 4


@pytest.mark.parametrize("error", [ItemFailed("no", reason="too_long"), MustStop("key")])
def test_permanent_failures_are_not_tried_again(error: JudgeError) -> None:
    script = ScriptedCall(error, REPLY)
    with pytest.raises(type(error)) as caught:
        script.run()
    assert caught.value is error
    assert len(script.attempts) == 1


def test_backoff_grows_and_varies() -> None:
    def first_sleeps() -> list[float]:
        script = ScriptedCall(*(MayRetry("x") for _ in range(9)))
        with pytest.raises(ItemFailed):
            script.run(attempts=6)
        return script.sleeps

    runs = [first_sleeps() for _ in range(5)]
    assert all(run[0] < run[2] < run[4] <= retry.MAX_WAIT_S for run in runs)
    assert len({run[0] for run in runs}) > 1


def test_other_exceptions_are_not_caught() -> None:
    def bug() -> Reply:
        raise KeyError("x")

    call: Callable[[], Reply] = bug
    with pytest.raises(KeyError):
        retry.with_retries(call)
