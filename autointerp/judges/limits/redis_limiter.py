"""The limiter of many processes: the rules of `admission_window` in Redis, each operation one script.

Redis holds nothing that cannot be lost. The process that finds the state missing seeds it with the calls of the last minute, which the
ledger knows; while Redis cannot be reached, no call is admitted. Time is Redis's, checked against the processes' monotonic clocks, so
that a clock that is set neither frees nor blocks a call.

The keys expire after the longest time that a call and a window may take, or after a pause: an idle limiter leaves nothing behind.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from importlib import resources
from typing import NamedTuple
from uuid import uuid4

import redis

from autointerp.judges.limits.admission_window import SECOND, WINDOW_S, Ceilings, Decision, Ending
from autointerp.judges.limits.limiter import SLOT_TIMEOUT_S, Admission, QueuedLimiter, ceilings_of, limiter_key
from autointerp.messages import RateLimits
from autointerp.spec.judge_sections import Judge as JudgeSettings

RecentCalls = Callable[[], Sequence[tuple[float, int, int]]]
"""Returns the calls of the last minute: age in seconds, input and output tokens."""

PREFIX = "{autointerp:limit:"
"""Of every key. The braces keep all keys of a limiter on one node of a cluster."""
MAX_CONNECTIONS = 16
"""Connections of one process; further threads wait for one."""
SEED_GRACE_S = 1.0
"""Longest time between an admission and its row in the ledger. After a loss of the state, no call is admitted for this time."""
FIRST_BACKOFF_S, MAX_BACKOFF_S = 0.1, 3.0
LOG_EVERY_S = 60.0

_ADMITTED, _PAUSED, _UNKNOWN = 1, 3, 4
_SCRIPT = resources.files(__package__).joinpath("redis_limiter.lua").read_text(encoding="utf-8")
_log = logging.getLogger(__name__)


class Answer(NamedTuple):
    """A step's answer: its status, the state's epoch, the limiter's time, and how long to wait. Times are in microseconds."""

    status: int
    epoch: str
    moment: int
    wait: int


class Script:
    """The state of one limiter in Redis, as this process reaches it."""

    def __init__(
        self,
        client: redis.Redis,
        key: str,
        window_s: float = WINDOW_S,
        clock: Callable[[], float] = time.monotonic,
        redis_time: Callable[[], int | str] = lambda: "-",
    ) -> None:
        """`clock` (monotonic, in seconds) and `redis_time` (microseconds, or `-` for Redis's own clock) are replaced by tests."""
        self._script = client.register_script(_SCRIPT)
        name = PREFIX + key + "}"
        self._keys = [name, f"{name}:calls", f"{name}:slots", f"{name}:waiting"]
        self._length = round(window_s * SECOND)
        self._keep_ms = round(1000 * (SLOT_TIMEOUT_S + window_s))
        self._clock = clock
        self._redis_time = redis_time
        self._seen = ("-", 0)
        """The last seen epoch, and the limiter's time less this process's clock. One tuple, so that threads replace both at once."""
        self._connections = threading.BoundedSemaphore(MAX_CONNECTIONS)

    def run(self, operation: str, *args: str | int, epoch: str | None = None) -> Answer:
        """Carry out one step. `epoch` names the epoch that a seeding begins. Raises `redis.RedisError`."""
        with self._connections:
            seen, offset = self._seen
            claim = int(self._clock() * SECOND) + offset
            words = (operation, epoch or seen, claim, self._length, self._keep_ms, self._redis_time(), *args)
            status, current, moment, wait = self._script(self._keys, (" ".join(map(str, words)),))
        answer = Answer(status, current.decode() if isinstance(current, bytes) else current, moment, wait)
        if status != _UNKNOWN:
            self._note_time(answer)
        return answer

    def _note_time(self, answer: Answer) -> None:
        # The answer was made before now, so the limiter's time is at least `answer.moment` now: the offset is a lower bound, and
        # the largest one seen in an epoch is the best.
        offset = answer.moment - math.ceil(self._clock() * SECOND)
        seen, before = self._seen
        self._seen = (answer.epoch, max(before, offset) if seen == answer.epoch else offset)


class SharedLimiter(QueuedLimiter):
    """Admission for all processes that use the same `key`. `recent_calls` is called if Redis has lost its state.

    `worker_id` names one life of a process; it holds no `/` and no space.
    """

    def __init__(
        self,
        client: redis.Redis,
        key: str,
        ceilings: Ceilings,
        worker_id: str,
        recent_calls: RecentCalls,
        *,
        window_s: float = WINDOW_S,
    ) -> None:
        super().__init__(ceilings, worker_id)
        self._script = Script(client, key, window_s)
        self._recent_calls = recent_calls
        self._paused_until = float("-inf")
        self._unsent: deque[Callable[[], object]] = deque()
        """Steps that Redis has not carried out yet. They are carried out before the next call is admitted."""
        self._backoff_s = FIRST_BACKOFF_S
        self._logged_at = float("-inf")

    @classmethod
    def of(
        cls, settings: JudgeSettings, client: redis.Redis, worker_id: str, recent_calls: RecentCalls
    ) -> SharedLimiter:
        """A limiter with the limits of a spec's judge."""
        return cls(client, limiter_key(settings), ceilings_of(settings), worker_id, recent_calls)

    def pause(self, seconds: float) -> None:
        until = self._clock() + seconds
        self._paused_until = max(self._paused_until, until)
        self._send(lambda: self._script.run("pause", max(0, round((until - self._clock()) * SECOND))))

    def _ask(self, call_id: str, input_tokens: int, output_tokens: int) -> Decision:
        left = self._paused_until - self._clock()
        if left > 0:
            return Decision(False, 0, math.ceil(left * SECOND), paused=True)
        try:
            self._send_all()
            answer = self._script.run("ask", call_id, input_tokens, output_tokens, *self._limits())
            if answer.status == _UNKNOWN:
                self._seed()
                return Decision(False, 0)
        except redis.RedisError as error:
            return self._unreachable(error)
        self._backoff_s = FIRST_BACKOFF_S
        if answer.status == _PAUSED:
            self._paused_until = self._clock() + answer.wait / SECOND
        return Decision(answer.status == _ADMITTED, answer.moment, answer.wait, answer.status == _PAUSED)

    def _settle(self, admission: Admission, ending: Ending, used: tuple[int, int], stated: RateLimits) -> None:
        reserved = (admission.input_tokens, admission.output_tokens)
        limits = (stated.requests or 0, stated.input_tokens or 0, stated.output_tokens or 0)
        args = (admission.call_id, ending, admission.moment, *reserved, *used, *limits, self._ceilings.concurrency)
        self._send(lambda: self._script.run("settle", *args))

    def _limits(self) -> tuple[int, int, int, int, int]:
        ceilings = self._ceilings
        return (
            ceilings.concurrency,
            ceilings.requests or 0,
            ceilings.input_tokens or 0,
            ceilings.output_tokens or 0,
            round(SLOT_TIMEOUT_S * SECOND),
        )

    def _send(self, step: Callable[[], object]) -> None:
        """Carry out a step now, or, if Redis cannot be reached, before the next call is admitted."""
        self._unsent.append(step)
        try:
            self._send_all()
        except redis.RedisError as error:
            self._unreachable(error)

    def _send_all(self) -> None:
        # Several threads may send at once: each takes a step off the queue, and puts it back if it failed. Steps commute.
        while True:
            try:
                step = self._unsent.popleft()
            except IndexError:
                return
            try:
                step()
            except redis.RedisError:
                self._unsent.append(step)
                raise

    def _seed(self) -> None:
        """Begin a new epoch with the calls of the last minute, after the calls admitted just before the loss had time to be written."""
        if self._recent_calls():
            self.sleep(SEED_GRACE_S)
        calls = [n for age, *tokens in self._recent_calls() for n in (max(0, round(age * SECOND)), *tokens)]
        self._script.run("seed", *calls, epoch=uuid4().hex)

    def _unreachable(self, error: redis.RedisError) -> Decision:
        """Log once a minute that Redis cannot be reached, and wait, longer each time."""
        now = self._clock()
        if now - self._logged_at >= LOG_EVERY_S:
            self._logged_at = now
            _log.warning("Redis does not answer, so no calls are admitted: %s", error)
        self._backoff_s = min(2 * self._backoff_s, MAX_BACKOFF_S)
        return Decision(False, 0, round(self._backoff_s * SECOND))


def free_slots(client: redis.Redis, worker_id: str) -> None:
    """Free the slots that a dead worker holds in any limiter. Raises `redis.RedisError`."""
    for key in client.scan_iter(f"{PREFIX}*}}"):
        name = key.decode() if isinstance(key, bytes) else key
        Script(client, name.removeprefix(PREFIX).removesuffix("}")).run("free_slots", worker_id)
