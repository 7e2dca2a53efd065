"""The limiter: no minute holds more than the ceilings, the calls in flight adapt to the provider, and stopping wakes every thread."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.judges.base import ItemFailed, JudgeError, MayRetry, MustWait
from autointerp.judges.error_codes import Failure, outcome_of
from autointerp.judges.limits.admission_window import SECOND, START_CONCURRENCY, WINDOW_S, Ceilings, Window
from autointerp.judges.limits.limiter import Aborted, Admission, CallOutcome, LocalLimiter, LongPause, limiter_key
from autointerp.judges.rate_headers import rate_limits
from autointerp.messages import RateLimits, Reply, Usage
from autointerp.spec.judge_sections import Judge

MINUTE = round(WINDOW_S * SECOND)
OK = CallOutcome("ok")


class FakeTime:
    """A clock that advances only when somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        assert seconds is not None, "waits for a notification that never comes"
        self.now += seconds


def limited(*ceilings: int | None) -> tuple[LocalLimiter, FakeTime]:
    """A limiter with ceilings of requests, input and output tokens per minute."""
    time = FakeTime()
    return LocalLimiter(Ceilings(512, *ceilings), clock=time.clock, wait=time.wait), time


some = st.one_of(st.none(), st.integers(50, 1000))


@given(
    st.lists(
        st.tuples(st.floats(0, 30), st.integers(0, 400), st.integers(0, 400), st.floats(0, 1)), min_size=1, max_size=60
    ),
    st.one_of(st.none(), st.integers(1, 8)),
    some,
    some,
)
def test_no_minute_holds_more_than_allowed(
    schedule: list[tuple[float, int, int, float]],
    requests: int | None,
    most_input: int | None,
    most_output: int | None,
) -> None:
    """Calls come at random moments with random sizes, and settle at a random share of what they reserved."""
    limiter, time = limited(requests, most_input, most_output)
    done: list[tuple[Admission, int, int]] = []
    for pause, input_tokens, output_tokens, share in schedule:
        time.now += pause
        admission = limiter.acquire(input_tokens, output_tokens)
        used = round(input_tokens * share), round(output_tokens * share)
        limiter.settle(admission, CallOutcome("ok", *used))
        done.append((admission, *used))
    for first, _, _ in done:
        minute = [call for call in done if first.moment <= call[0].moment < first.moment + MINUTE]
        if requests is not None:
            assert len(minute) <= requests
        if len(minute) > 1:
            assert sum(used for _, used, _ in minute) <= (most_input or 10**9)
            assert sum(used for _, _, used in minute) <= (most_output or 10**9)


@given(st.integers(1, 5), st.integers(1, 40))
def test_calls_are_admitted_as_soon_as_the_window_has_room(requests: int, count: int) -> None:
    limiter, time = limited(requests)
    for _ in range(count):
        limiter.settle(limiter.acquire(0, 0), OK)
    assert time.now == pytest.approx(WINDOW_S * ((count - 1) // requests))


@pytest.mark.parametrize("kind", ["input", "output"])
def test_a_reservation_holds_its_tokens_until_it_is_settled(kind: str) -> None:
    def size(tokens: int) -> tuple[int, int]:
        return (tokens, 0) if kind == "input" else (0, tokens)

    limiter, time = limited(None, *(100 if kind == each else None for each in ("input", "output")))
    limiter.settle(limiter.acquire(*size(80)), CallOutcome("ok", *size(10)))
    limiter.settle(limiter.acquire(*size(80)), CallOutcome("failed"))
    assert time.now == 0.0
    limiter.acquire(*size(80))
    assert time.now == WINDOW_S


def test_a_call_that_was_never_made_counts_for_nothing() -> None:
    limiter, time = limited(1)
    limiter.settle(limiter.acquire(5, 5), CallOutcome.unused())
    limiter.acquire(5, 5)
    assert time.now == 0.0


def test_a_call_larger_than_the_limit_is_admitted_into_an_empty_window() -> None:
    limiter, time = limited(None, 100)
    limiter.acquire(30, 0)
    limiter.acquire(500, 0)
    assert time.now == WINDOW_S
    limiter.acquire(1, 0)
    assert time.now == 2 * WINDOW_S


def test_the_specs_limits_hold_and_the_headers_only_where_the_spec_has_none() -> None:
    limiter, time = limited(3)
    limiter.settle(limiter.acquire(1, 1), CallOutcome("ok", limits=RateLimits(requests=1, output_tokens=10)))
    limiter.settle(limiter.acquire(1, 9), OK)
    limiter.settle(limiter.acquire(1, 0), OK)
    assert time.now == 0.0
    limiter.settle(limiter.acquire(1, 0), OK)
    assert time.now == WINDOW_S
    limiter.settle(limiter.acquire(1, 11), OK)
    assert time.now == 2 * WINDOW_S


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    limiter, time = limited()
    limiter.pause(20.0)
    limiter.pause(5.0)
    limiter.acquire(1, 1)
    assert time.now == 20.0


def test_a_long_pause_raises_instead_of_blocking() -> None:
    limiter, time = limited()
    limiter.pause(40.0)
    with pytest.raises(LongPause) as pause:
        limiter.acquire(1, 1)
    assert (pause.value.seconds, time.now) == (40.0, 0.0)
    time.now = 11.0
    limiter.acquire(1, 1)
    assert time.now == 40.0


class Provider:
    """Makes calls through a `Window`, round by round: as many at once as it admits."""

    def __init__(self, ceiling: int) -> None:
        self.window, self.ceilings, self.now, self.number = Window(), Ceilings(ceiling), 0, 0

    def fill(self, most: int = 1000) -> list[tuple[str, int]]:
        self.now += 1
        calls: list[tuple[str, int]] = []
        while len(calls) < most:
            self.number += 1
            decision = self.window.ask(self.now, f"a/{self.number}", 1, 1, self.ceilings, MINUTE)
            if not decision.admitted:
                break
            calls.append((f"a/{self.number}", decision.moment))
        return calls

    def end(self, calls: list[tuple[str, int]], ending: Any) -> None:
        self.now += 1
        for call_id, moment in calls:
            self.window.settle(self.now, call_id, moment, ending, 1, 1, RateLimits(), self.ceilings.concurrency)

    def round(self, ending: Any = "ok") -> int:
        calls = self.fill()
        self.end(calls, ending)
        return len(calls)


def test_concurrency_doubles_until_the_first_429_and_then_grows_by_a_twentieth() -> None:
    provider = Provider(200)
    assert [provider.round() for _ in range(6)] == [16, 32, 64, 128, 200, 200]
    assert provider.round("limited") == 200
    assert [provider.round() for _ in range(4)] == [140, 150, 160, 170]


def test_the_first_limit_is_at_most_the_ceiling() -> None:
    assert Provider(5).round() == 5
    assert Provider(100).round() == START_CONCURRENCY


def test_a_burst_of_429s_cuts_the_limit_once() -> None:
    provider = Provider(200)
    before, after = provider.fill(8), provider.fill(8)
    provider.end(before, "limited")
    provider.end(after, "limited")
    assert provider.window.limit == 11
    provider.end(provider.fill(1), "limited")
    assert provider.window.limit == 7


def test_concurrency_never_falls_below_one() -> None:
    provider = Provider(200)
    for _ in range(40):
        provider.end(provider.fill(1), "limited")
    assert provider.window.limit == 1
    assert [provider.round() for _ in range(2)] == [1, 11]


def test_the_limit_does_not_grow_while_it_is_not_used() -> None:
    provider = Provider(200)
    for _ in range(100):
        provider.end(provider.fill(12), "ok")
    assert provider.window.limit == START_CONCURRENCY


def test_the_limit_does_not_grow_while_one_call_in_four_fails() -> None:
    provider = Provider(200)
    for _ in range(50):
        calls = provider.fill()
        provider.end(calls[:4], "failed")
        provider.end(calls[4:], "ok")
    assert provider.window.limit == START_CONCURRENCY
    provider.round()
    assert provider.window.limit == 2 * START_CONCURRENCY


def test_the_slot_of_a_call_that_is_never_settled_is_freed_after_a_while() -> None:
    provider = Provider(4)
    assert len(provider.fill()) == 4
    assert provider.fill() == []
    provider.now += MINUTE
    assert len(provider.fill()) == 4


def test_threads_together_stay_within_the_ceiling() -> None:
    """Sixteen threads ask 200 times; real threads, a clock that moves only when the first in line has to wait."""
    lock, now = threading.Lock(), [0.0]

    def wait(condition: threading.Condition, seconds: float | None) -> None:
        if seconds is None:
            condition.wait()
        else:
            with lock:
                now[0] += seconds

    limiter = LocalLimiter(Ceilings(16, 20), clock=lambda: now[0], wait=wait)

    def call(_: int) -> int:
        admission = limiter.acquire(1, 1)
        limiter.settle(admission, OK)
        return admission.moment

    with ThreadPoolExecutor(16) as pool:
        moments = sorted(pool.map(call, range(200)))
    assert len(moments) == 200
    assert all(later - earlier >= MINUTE for earlier, later in zip(moments, moments[20:], strict=False))


def test_threads_are_admitted_in_the_order_in_which_they_arrived() -> None:
    limiter = LocalLimiter(Ceilings(1))
    first, order = limiter.acquire(1, 1), []

    def call(number: int) -> None:
        admission = limiter.acquire(1, 1)
        order.append(number)
        limiter.settle(admission, OK)

    threads = []
    for number in range(8):
        threads.append(threading.Thread(target=call, args=(number,)))
        threads[-1].start()
        while len(limiter._queue) <= number:
            threading.Event().wait(0.001)
    limiter.settle(first, OK)
    for thread in threads:
        thread.join(timeout=60)
    assert order == list(range(8))


def test_abort_wakes_waiting_and_sleeping_threads_and_reset_admits_again() -> None:
    limiter = LocalLimiter(Ceilings(8, 1))
    limiter.acquire(1, 1)
    ends: list[str] = []

    def waits(kind: str) -> None:
        try:
            if kind == "sleep":
                limiter.sleep(3600)
            else:
                limiter.acquire(1, 1)
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
        limiter.acquire(1, 1)
    limiter.reset()
    limiter.sleep(0)
    limiter.pause(3600)
    with pytest.raises(LongPause):
        limiter.acquire(1, 1)


def test_settling_a_call_admits_the_next_thread() -> None:
    limiter = LocalLimiter(Ceilings(8, None, 100))
    first = limiter.acquire(100, 0)
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(limiter.acquire, 100, 0)
        limiter.settle(first, CallOutcome("ok", 0, 0))
        assert second.result(timeout=20).input_tokens == 100


LIMITS = RateLimits(9, 8, 7)


def with_limits(error: JudgeError) -> JudgeError:
    error.limits = LIMITS
    return error


@pytest.mark.parametrize(
    ("outcome", "counted"),
    [
        (Reply("", "complete", Usage(10, 5, 3, 90), "m", None, LIMITS), CallOutcome("ok", 13, 5, LIMITS)),
        (Reply("", "refusal", Usage(known=False), "m"), CallOutcome("ok")),
        (with_limits(MustWait("429")), CallOutcome("limited", 0, 0, LIMITS)),
        (MayRetry("500"), CallOutcome("failed", 0, 0)),
        (MayRetry("lost", usage=Usage(known=False)), CallOutcome("failed")),
        (ItemFailed("too long"), CallOutcome("ok", 0, 0)),
    ],
)
def test_outcomes_as_the_limiter_counts_them(outcome: Reply | JudgeError, counted: CallOutcome) -> None:
    assert CallOutcome.of(outcome) == counted


@pytest.mark.parametrize(
    ("headers", "limits"),
    [
        (
            {
                "Anthropic-RateLimit-Requests-Limit": "4000",
                "anthropic-ratelimit-input-tokens-limit": "2000000",
                "anthropic-ratelimit-output-tokens-limit": "400000",
                "anthropic-ratelimit-tokens-limit": "1",
            },
            RateLimits(4000, 2_000_000, 400_000),
        ),
        ({"x-ratelimit-limit-requests": "500", "x-ratelimit-limit-tokens": "30000"}, RateLimits(500, 30000, 30000)),
        ({"x-ratelimit-limit-requests": "0", "x-ratelimit-limit-tokens": "-3"}, None),
        ({"x-ratelimit-limit-requests": "1e9", "x-ratelimit-limit-tokens": "٣" + "9" * 40}, None),
        ({"x-ratelimit-limit-tokens": "77"}, RateLimits(None, 77, 77)),
        ({}, None),
    ],
)
def test_rate_limits_are_read_from_headers(headers: dict[str, str], limits: RateLimits | None) -> None:
    assert rate_limits(headers) == limits
    assert outcome_of(Failure("openai", 429, frozenset(), "", headers)).limits == limits


def test_a_limiter_is_named_after_model_and_account_without_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    key = "sk-ant-very-secret"
    monkeypatch.setenv("ANTHROPIC_API_KEY", key)
    settings = Judge(model="anthropic/claude-x")
    named = limiter_key(settings)
    assert named.startswith("anthropic/claude-x/")
    assert key not in named
    assert limiter_key(settings.model_copy(update={"concurrency": 3})) == named
    others = [
        limiter_key(settings.model_copy(update={"base_url": "http://127.0.0.1:1"})),
        limiter_key(Judge(model="anthropic/claude-y")),
    ]
    monkeypatch.setenv("ANTHROPIC_API_KEY", "another")
    others.append(limiter_key(settings))
    assert len({named, *others}) == 4


def test_two_keys_at_one_address_have_a_limiter_each_and_one_key_has_one_however_its_server_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FIRST_KEY", "gsk_first")
    monkeypatch.setenv("SECOND_KEY", "gsk_second")
    monkeypatch.setenv("FIRST_KEY_AGAIN", "gsk_first\n")
    address = "https://api.groq.com/openai/v1"
    first, second, again, slash = (
        limiter_key(Judge(model="openai-compatible/m", base_url=url, key_env=name))
        for url, name in [
            (address, "FIRST_KEY"), (address, "SECOND_KEY"), (address, "FIRST_KEY_AGAIN"), (f"{address}/", "FIRST_KEY"),
        ]
    )  # fmt: skip
    preset = limiter_key(Judge(model="openai-compatible/m", server="groq", key_env="FIRST_KEY"))
    assert first != second
    assert {first, again, slash, preset} == {first}
