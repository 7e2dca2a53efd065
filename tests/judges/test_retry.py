"""Short waits: which outcomes are tried again, how often, after how long, and who is told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from autointerp.judges import retry
from autointerp.judges.base import ItemFailed, JudgeError, MayRetry, MustStop, MustWait
from autointerp.messages import Reply, Usage

REPLY = Reply("{}", "complete", Usage(1, 1), "model")


class Told:
    """A call that ends as scripted, and everything that `attempt` told."""

    def __init__(self, *ends: Reply | JudgeError) -> None:
        self.ends = list(ends)
        self.attempts: list[tuple[int, str]] = []
        self.sleeps: list[float] = []
        self.pauses: list[float] = []

    def run(self, **changes: int) -> Reply:
        return retry.attempt(
            self._call, on_attempt=self._note, pause=self.pauses.append, sleep=self.sleeps.append, **changes
        )

    def _call(self) -> Reply:
        end = self.ends.pop(0)
        if isinstance(end, JudgeError):
            raise end
        return end

    def _note(self, number: int, outcome: Reply | JudgeError) -> None:
        self.attempts.append((number, type(outcome).__name__))


def test_passing_failures_are_tried_again() -> None:
    told = Told(MayRetry("a"), MustWait("b"), REPLY)
    assert told.run() is REPLY
    assert told.attempts == [(1, "MayRetry"), (2, "MustWait"), (3, "Reply")]
    assert len(told.sleeps) == 2


def test_a_failure_that_does_not_pass_is_the_items() -> None:
    told = Told(*(MayRetry(f"broken {n}") for n in range(9)))
    with pytest.raises(ItemFailed, match=r"broken 3 \(4 attempts\)") as caught:
        told.run()
    assert caught.value.reason == "provider_error"
    assert caught.value.__context__ is None
    assert len(told.attempts) == 4


def test_the_asked_wait_is_kept_and_everybody_told() -> None:
    told = Told(MustWait("slow down", retry_after_s=25.0), REPLY)
    told.run()
    assert told.sleeps == told.pauses == [25.0]


def test_a_retry_concerns_nobody_else() -> None:
    told = Told(MayRetry("a"), REPLY)
    told.run()
    assert told.pauses == []


def test_a_long_wait_goes_back_to_the_caller() -> None:
    told = Told(MustWait("tomorrow", retry_after_s=3600.0), REPLY)
    with pytest.raises(MustWait) as caught:
        told.run()
    assert caught.value.retry_after_s == 3600.0
    assert told.sleeps == []


def test_short_waits_without_end_go_back_too() -> None:
    told = Told(*(MustWait("again", retry_after_s=1.0) for _ in range(9)))
    with pytest.raises(MustWait):
        told.run()
    assert len(told.attempts) == 4


@pytest.mark.parametrize("error", [ItemFailed("no", reason="too_long"), MustStop("key")])
def test_nothing_is_tried_again_in_vain(error: JudgeError) -> None:
    told = Told(error, REPLY)
    with pytest.raises(type(error)) as caught:
        told.run()
    assert caught.value is error
    assert len(told.attempts) == 1


def test_backoff_grows_and_varies() -> None:
    def first_sleeps() -> list[float]:
        told = Told(*(MayRetry("x") for _ in range(9)))
        with pytest.raises(ItemFailed):
            told.run(attempts=6)
        return told.sleeps

    runs = [first_sleeps() for _ in range(5)]
    assert all(run[0] < run[2] < run[4] <= retry.LONGEST_WAIT_S for run in runs)
    assert len({run[0] for run in runs}) > 1


def test_what_is_not_ours_passes_through() -> None:
    def bug() -> Reply:
        raise KeyError("x")

    call: Callable[[], Reply] = bug
    with pytest.raises(KeyError):
        retry.attempt(call)
