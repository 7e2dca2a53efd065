"""The limiter: never more than allowed in any minute, for all threads, and awake at once when the run stops."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.judges.limits import WINDOW_S, Aborted, Admission, Limiter


class FakeTime:
    """A clock that only waiting moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        assert seconds is not None, "waits for a notification that never comes"
        self.now += seconds


def limited(requests: int | None = None, tokens: int | None = None) -> tuple[Limiter, FakeTime]:
    time = FakeTime()
    return Limiter(requests, tokens, clock=time.clock, wait=time.wait), time


calls = st.lists(
    st.tuples(st.floats(0, 30), st.integers(0, 400), st.floats(0, 1)),
    min_size=1,
    max_size=60,
)


@given(calls, st.one_of(st.none(), st.integers(1, 8)), st.one_of(st.none(), st.integers(50, 1000)))
def test_no_minute_holds_more_than_allowed(
    schedule: list[tuple[float, int, float]], requests: int | None, tokens: int | None
) -> None:
    """Calls come at random moments with random sizes, and settle at a random share of what they reserved."""
    limiter, time = limited(requests, tokens)
    done: list[Admission] = []
    for pause, size, share in schedule:
        time.now += pause
        admission = limiter.acquire(size)
        limiter.settle(admission, round(size * share))
        done.append(admission)
    for first in done:
        minute = [call for call in done if first.moment <= call.moment < first.moment + WINDOW_S]
        if requests is not None:
            assert len(minute) <= requests
        if tokens is not None and len(minute) > 1:
            assert sum(call.tokens for call in minute) <= tokens


@given(st.integers(1, 5), st.integers(1, 40))
def test_no_time_is_wasted(requests: int, count: int) -> None:
    limiter, time = limited(requests=requests)
    for _ in range(count):
        limiter.acquire()
    assert time.now == pytest.approx(WINDOW_S * ((count - 1) // requests))


def test_a_reservation_holds_its_tokens_until_it_is_settled() -> None:
    limiter, time = limited(tokens=100)
    first = limiter.acquire(80)
    limiter.settle(first, 10)
    limiter.acquire(80)
    assert time.now == 0.0
    limiter.acquire(80)
    assert time.now == WINDOW_S


def test_a_call_larger_than_the_limit_goes_alone() -> None:
    limiter, time = limited(tokens=100)
    limiter.acquire(30)
    limiter.acquire(500)
    assert time.now == WINDOW_S
    limiter.acquire(1)
    assert time.now == 2 * WINDOW_S


def test_a_pause_holds_everybody_and_never_shortens() -> None:
    limiter, time = limited()
    limiter.pause(40.0)
    limiter.pause(5.0)
    limiter.acquire()
    assert time.now == 40.0


def test_threads_together_keep_the_limit() -> None:
    """Sixteen threads ask 200 times; real threads, a clock that moves only when the first in line has to wait."""
    lock, now = threading.Lock(), [0.0]

    def wait(condition: threading.Condition, seconds: float | None) -> None:
        if seconds is None:
            condition.wait()
        else:
            with lock:
                now[0] += seconds

    limiter = Limiter(20, None, clock=lambda: now[0], wait=wait)
    with ThreadPoolExecutor(16) as pool:
        moments = sorted(call.moment for call in pool.map(lambda _: limiter.acquire(1), range(200)))
    assert len(moments) == 200
    assert all(later - earlier >= WINDOW_S for earlier, later in zip(moments, moments[20:], strict=False))
    assert moments[-1] == 9 * WINDOW_S


def test_abort_wakes_waiters_and_sleepers() -> None:
    limiter = Limiter(1)
    limiter.acquire()
    ends: list[str] = []

    def waits(kind: str) -> None:
        try:
            if kind == "sleep":
                limiter.sleep(3600)
            else:
                limiter.acquire()
        except Aborted:
            ends.append(kind)

    threads = [threading.Thread(target=waits, args=(kind,)) for kind in ("acquire", "acquire", "sleep")]
    for thread in threads:
        thread.start()
    limiter.abort()
    for thread in threads:
        thread.join(timeout=20)
    assert sorted(ends) == ["acquire", "acquire", "sleep"]
    assert limiter.aborted
    with pytest.raises(Aborted):
        limiter.acquire()


def test_settling_lets_the_next_thread_in() -> None:
    limiter = Limiter(tokens_per_minute=100)
    first = limiter.acquire(100)
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(limiter.acquire, 100)
        limiter.settle(first, 0)
        assert second.result(timeout=20).tokens == 100
