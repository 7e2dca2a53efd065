"""The limiter in Redis: the same decisions as the rules in Python, exact over processes, and safe if Redis loses its state."""

from __future__ import annotations

import itertools
import logging
import multiprocessing
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from fractions import Fraction
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support.services.limit_worker import Done, make_calls
from support.services.servers import RedisServer, redis_server

from autointerp.judges.limits import redis_limiter
from autointerp.judges.limits.admission_window import SECOND, Ceilings, Decision, Window
from autointerp.judges.limits.limiter import Aborted, CallOutcome, LongPause
from autointerp.judges.limits.redis_limiter import Script, SharedLimiter, free_slots
from autointerp.messages import RateLimits

KEYS = (f"key-{number}" for number in itertools.count())
UNLIMITED = Ceilings(64)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


@pytest.fixture
def client(server: RedisServer) -> Iterator[redis.Redis]:
    with server.client() as connected:
        connected.flushall()
        yield connected


def limiter(
    client: redis.Redis, ceilings: Ceilings = UNLIMITED, worker: str = "a", recent: Any = lambda: (), **more: Any
) -> SharedLimiter:
    return SharedLimiter(client, "account", ceilings, worker, recent, **more)


some = st.one_of(st.none(), st.integers(1, 30))
tokens = st.integers(0, 40)


class BothLimiters(RuleBasedStateMachine):
    """Carries out the same operations at the same times in Python and in Redis."""

    client: redis.Redis

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.numbers = itertools.count()
        self.calls: list[tuple[str, int, int, int]] = []
        self.window = Window(20.0)
        self.script = Script(self.client, next(KEYS), 20.0, lambda: Fraction(self.now, SECOND), lambda: self.now)

    @initialize(recent=st.lists(st.tuples(st.integers(0, 25 * SECOND), tokens, tokens), max_size=5))
    def begin(self, recent: list[tuple[int, int, int]]) -> None:
        assert self.script.run("ask", "a/first", 0, 0, 1, 0, 0, 0, 1).status == redis_limiter._UNKNOWN
        self.window.seed(recent)
        self.script.run("seed", *itertools.chain(*recent), epoch="begun")
        self.script.run("seed", 0, 1, 1, epoch="late")

    @rule(step=st.one_of(st.integers(0, 2 * SECOND), st.integers(0, 30 * SECOND)))
    def time_passes(self, step: int) -> None:
        self.now += step

    @rule(
        worker=st.sampled_from("abc"),
        size=st.tuples(tokens, tokens),
        ceilings=st.builds(Ceilings, st.integers(1, 40), some, some, some),
        timeout=st.integers(1, 90 * SECOND),
        times=st.integers(1, 20),
    )
    def ask(self, worker: str, size: tuple[int, int], ceilings: Ceilings, timeout: int, times: int) -> None:
        for _ in range(times):
            call_id = f"{worker}/{next(self.numbers)}"
            decision = self._ask(call_id, size, ceilings, timeout)
            if not decision.admitted:
                break
            self.calls.append((call_id, decision.moment, *size))

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), timeout=st.integers(1, SECOND))
    def ask_again(self, data: st.DataObject, timeout: int) -> None:
        call_id, _, *size = data.draw(st.sampled_from(self.calls))
        decision = self._ask(call_id, (size[0], size[1]), UNLIMITED, timeout)
        if not decision.admitted:
            self.calls = [call for call in self.calls if call[0] != call_id]

    def _ask(self, call_id: str, size: tuple[int, int], ceilings: Ceilings, timeout: int) -> Decision:
        expected = self.window.ask(self.now, call_id, *size, ceilings, timeout)
        limits = (ceilings.requests or 0, ceilings.input_tokens or 0, ceilings.output_tokens or 0)
        answer = self.script.run("ask", call_id, *size, ceilings.concurrency, *limits, timeout)
        decision = Decision(
            answer.status == redis_limiter._ADMITTED, answer.moment, answer.wait, answer.status == redis_limiter._PAUSED
        )
        assert decision == expected
        return decision

    @precondition(lambda self: self.calls)
    @rule(
        data=st.data(),
        count=st.integers(1, 20),
        ending=st.sampled_from(["ok", "ok", "ok", "ok", "limited", "failed", "unused"]),
        used=st.tuples(tokens, tokens),
        stated=st.one_of(st.just(RateLimits()), st.builds(RateLimits, some, some, some)),
        ceiling=st.integers(1, 60),
    )
    def settle(
        self, data: st.DataObject, count: int, ending: Any, used: tuple[int, int], stated: RateLimits, ceiling: int
    ) -> None:
        for _ in range(min(count, len(self.calls))):
            call_id, moment, *reserved = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
            self.window.settle(self.now, call_id, moment, ending, *used, stated, ceiling)
            limits = (stated.requests or 0, stated.input_tokens or 0, stated.output_tokens or 0)
            self.script.run("settle", call_id, ending, moment, *reserved, *used, *limits, ceiling)

    @rule(length=st.integers(0, 40 * SECOND))
    def pause(self, length: int) -> None:
        self.window.pause(self.now, length)
        self.script.run("pause", length)

    @rule(worker=st.sampled_from("abc"))
    def free_slots(self, worker: str) -> None:
        self.window.free_slots(worker)
        self.script.run("free_slots", worker)

    @invariant()
    def same_state(self) -> None:
        state, calls, slots, waiting = self.script._keys
        if not self.client.exists(state):
            return
        fields = ("now", "limit", "steep", "good", "peak", "cut_at", "paused_until", "input", "output")
        window = self.window
        mine = [window.now, window.limit, window._slow_start, window._successes, window._peak, window._cut_at]
        mine += [window._paused_until, window._input, window._output]
        assert [int(value or 0) for value in self.client.hmget(state, fields)] == [int(value) for value in mine]
        assert self.client.zcard(calls) == len(window._calls)
        assert {name.decode(): int(until) for name, until in self.client.zrange(slots, 0, -1, withscores=True)} == (
            window._slots
        )
        assert {k.decode(): v.decode() for k, v in self.client.hgetall(waiting).items()} == {
            worker: f"{since} {until}" for worker, (since, until) in window._waiting.items()
        }


def test_redis_decides_as_the_rules_in_python_do(client: redis.Redis) -> None:
    kind = type("Both", (BothLimiters,), {"client": client})
    run_state_machine_as_test(
        kind,
        settings=settings(
            max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_processes_together_keep_the_ceilings_in_every_window(server: RedisServer, client: redis.Redis) -> None:
    ceilings, window_s = Ceilings(12, 30, 1000, 1500), 1.0
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        ends = [
            pool.submit(make_calls, server.url, "account", worker, ceilings, window_s, threads=8, calls=40)
            for worker in "abcd"
        ]
        done: list[Done] = sorted((call for end in ends for call in end.result()), key=lambda call: call.moment)
    assert len(done) == 160
    for place, first in enumerate(done):
        window = [call for call in done[place:] if call.moment < first.moment + window_s * SECOND]
        assert len(window) <= 30
        assert sum(call.input_tokens for call in window) <= 1000
        assert sum(call.output_tokens for call in window) <= 1500
        # The limiter's time never runs faster than time does, so what holds in its windows holds in real ones.
        for call in window:
            assert call.moment - first.moment <= (call.admitted_s - first.asked_s) * SECOND
    assert max(call.in_flight for call in done) <= 12


def test_a_pause_applies_to_every_process(client: redis.Redis) -> None:
    here, there = limiter(client, worker="a"), limiter(client, worker="b")
    there.settle(there.acquire(1, 1), CallOutcome("ok"))
    here.pause(3600)
    here.pause(1)
    for each in (here, there, there):
        with pytest.raises(LongPause) as pause:
            each.acquire(1, 1)
        assert 3000 < pause.value.seconds <= 3600


def test_a_short_pause_is_waited_for(client: redis.Redis) -> None:
    here, there = limiter(client, worker="a"), limiter(client, worker="b")
    first = here.acquire(1, 1)
    here.pause(0.3)
    assert there.acquire(1, 1).moment >= first.moment + 0.3 * SECOND


def test_a_lost_state_is_seeded_with_the_calls_of_the_last_minute(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call after FLUSHALL is admitted when the calls before it have left the window."""
    monkeypatch.setattr(redis_limiter, "SEED_GRACE_S", 0.05)
    made: list[tuple[float, int, int]] = []
    here = limiter(client, Ceilings(64, requests=3), recent=lambda: made, window_s=1.0)
    for _ in range(3):
        here.settle(here.acquire(5, 5), CallOutcome("ok"))
    client.flushall()
    made += [(0.1, 5, 5)] * 3
    seeded = here.acquire(1, 1)
    assert seeded.moment >= 0.9 * SECOND
    assert client.zcard("{autointerp:limit:account}:calls") == 1


def test_settling_a_call_from_before_the_loss_changes_nothing(client: redis.Redis) -> None:
    here = limiter(client, Ceilings(1))
    before = here.acquire(5, 5)
    client.flushall()
    here.settle(before, CallOutcome("limited"))
    after = here.acquire(5, 5)
    here.settle(before, CallOutcome("limited"))
    assert client.zcard("{autointerp:limit:account}:slots") == 1
    here.settle(after, CallOutcome("ok"))
    assert client.zcard("{autointerp:limit:account}:slots") == 0


def test_two_limiters_of_one_worker_have_slots_of_their_own(client: redis.Redis) -> None:
    """Runs whose specs have different ceilings have a limiter each in a process, and still share the account."""
    one, other = limiter(client, Ceilings(2)), limiter(client, Ceilings(9))
    held = [each.acquire(1, 1) for each in (one, other)]
    assert client.zcard("{autointerp:limit:account}:slots") == 2
    for each, admission in zip((one, other), held, strict=True):
        each.settle(admission, CallOutcome("ok"))
    assert client.zcard("{autointerp:limit:account}:slots") == 0


def test_the_slots_of_a_dead_worker_are_freed(client: redis.Redis) -> None:
    dead, alive = limiter(client, Ceilings(2), "dead"), limiter(client, Ceilings(2), "alive")
    for _ in range(2):
        dead.acquire(1, 1)
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(alive.acquire, 1, 1)
        assert not waits.done()
        free_slots(client, "nobody")
        free_slots(client, "dead")
        assert waits.result(timeout=60).call_id.startswith("alive/")
    assert client.zcard("{autointerp:limit:account}:slots") == 1


def test_a_worker_that_has_waited_long_goes_before_the_others(client: redis.Redis) -> None:
    """A large call needs an empty window, which the small calls of another worker would otherwise keep filled."""
    busy, large = (limiter(client, Ceilings(64, None, 100), worker, window_s=0.5) for worker in ("busy", "large"))
    stop = threading.Event()

    def small_calls() -> None:
        while not stop.is_set():
            busy.settle(busy.acquire(20, 0), CallOutcome("ok"))

    with ThreadPoolExecutor(2) as pool:
        small = pool.submit(small_calls)
        try:
            assert pool.submit(large.acquire, 500, 0).result(timeout=60).input_tokens == 500
        finally:
            stop.set()
            busy.abort()
        with pytest.raises(Aborted):
            small.result(timeout=60)


def test_no_call_is_admitted_while_redis_is_down(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    with redis_server() as own, own.client() as client:
        here = limiter(client, recent=lambda: ())
        first = here.acquire(1, 1)
        own.stop()
        here.settle(first, CallOutcome("ok"))
        with ThreadPoolExecutor(2) as pool:
            waits = [pool.submit(here.acquire, 1, 1) for _ in range(2)]
            threading.Event().wait(0.5)
            assert not any(each.done() for each in waits)
            own.start()
            second, _ = (each.result(timeout=60) for each in waits)
        assert client.zcard("{autointerp:limit:account}:slots") == 2
        own.stop()
        with ThreadPoolExecutor(1) as pool:
            waits = [pool.submit(here.acquire, 1, 1)]
            here.abort()
            with pytest.raises(Aborted):
                waits[0].result(timeout=60)
        here.settle(second, CallOutcome("ok"))
    assert len([line for line in caplog.records if "Redis does not answer" in line.message]) == 1


def test_a_redis_that_restarted_empty_is_seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_limiter, "SEED_GRACE_S", 0.05)
    with redis_server() as own, own.client() as client:
        here = limiter(client, Ceilings(4, requests=2), recent=lambda: [(0.0, 1, 1)] * 2, window_s=0.5)
        here.acquire(1, 1)
        own.restart(empty=True)
        assert here.acquire(1, 1).moment >= 0.5 * SECOND


def test_keys_are_few_and_expire(client: redis.Redis) -> None:
    here = limiter(client, window_s=0.2)
    for _ in range(300):
        here.settle(here.acquire(1, 1), CallOutcome("ok"))
    threading.Event().wait(0.2)
    here.settle(here.acquire(1, 1), CallOutcome("ok"))
    assert client.zcard("{autointerp:limit:account}:calls") <= 1
    names = client.keys("*")
    assert len(names) <= 4
    assert all(0 < client.pttl(name) <= 1000 * (redis_limiter.SLOT_TIMEOUT_S + 1) for name in names)


@given(
    steps=st.lists(st.tuples(st.integers(0, 90 * SECOND), st.sampled_from([0] * 6 + [-3600 * SECOND, 3600 * SECOND]))),
    late=st.integers(0, SECOND),
)
@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
def test_jumps_of_the_redis_clock_are_ignored(client: redis.Redis, steps: list[tuple[int, int]], late: int) -> None:
    """Two processes with different monotonic clocks ask in turn while Redis's clock jumps by an hour in both directions."""
    now, jumped = 5 * SECOND, 7_000 * SECOND
    key = next(KEYS)

    def process(ahead: int) -> Script:
        return Script(client, key, 60.0, lambda: Fraction(now + ahead, SECOND), lambda: now + jumped)

    scripts = [process(0), process(1234 * SECOND + late)]
    scripts[0].run("seed", epoch="begun")
    began = now
    scripts[1].run("look")
    for number, (step, jump) in enumerate(steps):
        now, jumped = now + step, jumped + jump
        assert scripts[number % 2].run("look").moment == now - began


def test_only_a_new_process_follows_a_jump_of_the_redis_clock(client: redis.Redis) -> None:
    """It has no earlier answer to check Redis's clock against. The others do not follow a step back."""
    now = 0
    old = Script(client, "account", 60.0, lambda: Fraction(now, SECOND), lambda: now)
    old.run("seed", epoch="begun")
    now = 5 * SECOND
    new = Script(client, "account", 60.0, lambda: Fraction(now, SECOND), lambda: now + 10 * SECOND)
    assert new.run("look").moment == 15 * SECOND
    assert old.run("look").moment == 15 * SECOND
