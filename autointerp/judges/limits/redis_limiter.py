"""The limiter of a fleet: the rules of `autointerp.judges.window` in Redis, one script a step.

Redis holds nothing that cannot be lost. Where its state is gone, whoever notices fills the window with the calls of the
last minute, which the ledger knows; where it cannot be reached, nobody is admitted. Time is Redis's own, checked against the
processes' monotonic clocks, so that no clock can free or block anybody by jumping.

The keys live as long as a call may take and a window lasts, and a pause longer: an idle limiter leaves nothing behind.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import resources
from typing import NamedTuple
from uuid import uuid4

import redis

from autointerp.judges.limits.admission_window import SECOND, WINDOW_S, Ceilings, Ending, Verdict
from autointerp.judges.limits.limiter import SLOT_S, Admission, QueuedLimiter, ceilings_of, limiter_key
from autointerp.messages import RateLimits
from autointerp.spec.sections import Judge as JudgeSettings

Recent = Callable[[], Sequence[tuple[float, int, int]]]
"""The calls of the last minute: age in seconds, input and output tokens."""

PREFIX = "{autointerp:limit:"
"""Of every key. The braces keep one limiter's keys on one node of a cluster."""
CONNECTIONS = 16
"""Connections of one process at most: more threads than that wait for one."""
SEED_GRACE_S = 1.0
"""Between an admission and its row in the ledger: so long nobody is admitted once the state is found to be lost."""
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.1, 3.0
LOG_EVERY_S = 60.0

_ADMITTED, _PAUSED, _UNKNOWN = 1, 3, 4
_SCRIPT = resources.files(__package__).joinpath("redis_limiter.lua").read_text(encoding="utf-8")
_log = logging.getLogger(__name__)


class Answer(NamedTuple):
    """What a step answered: its status, the life of the state, its moment, and how long to wait, in microseconds."""

    status: int
    epoch: str
    moment: int
    wait: int


class Script:
    """One limiter's state in Redis, and this process's part in its clock."""

    def __init__(
        self,
        client: redis.Redis,
        key: str,
        window_s: float = WINDOW_S,
        clock: Callable[[], float] = time.monotonic,
        redis_time: Callable[[], int | str] = lambda: "-",
    ) -> None:
        self._script = client.register_script(_SCRIPT)
        name = PREFIX + key + "}"
        self._keys = [name, f"{name}:calls", f"{name}:slots", f"{name}:waiting"]
        self._length = round(window_s * SECOND)
        self._keep_ms = round(1000 * (SLOT_S + window_s))
        self._clock = clock
        self._redis_time = redis_time
        self._seen = ("-", 0)
        """The life of the state that was seen last, and its moment less this process's clock: replaced as one."""
        self._connections = threading.BoundedSemaphore(CONNECTIONS)

    def run(self, operation: str, *args: str | int, epoch: str | None = None) -> Answer:
        """One step; `epoch` names a life that begins with it. Raises `redis.RedisError`."""
        with self._connections:
            seen, offset = self._seen
            moment = int(self._clock() * SECOND) + offset
            words = (operation, epoch or seen, moment, self._length, self._keep_ms, self._redis_time(), *args)
            status, life, moment, wait = self._script(self._keys, (" ".join(map(str, words)),))
        answer = Answer(status, life.decode() if isinstance(life, bytes) else life, moment, wait)
        if status != _UNKNOWN:
            self._tell_time(answer)
        return answer

    def _tell_time(self, answer: Answer) -> None:
        """The answer was given now at the latest, so the limiter's clock is by now at least so far ahead of this one."""
        offset = answer.moment - math.ceil(self._clock() * SECOND)
        seen, before = self._seen
        self._seen = (answer.epoch, max(before, offset) if seen == answer.epoch else offset)


class SharedLimiter(QueuedLimiter):
    """Admission for every process that gives the same `key`. `recent` is asked where Redis has lost its state.

    `worker_id` names one life of a process; it holds no `/` and no space.
    """

    def __init__(
        self,
        client: redis.Redis,
        key: str,
        ceilings: Ceilings,
        worker_id: str,
        recent: Recent,
        *,
        window_s: float = WINDOW_S,
    ) -> None:
        super().__init__(ceilings, worker_id)
        self._script = Script(client, key, window_s)
        self._recent = recent
        self._paused_until = float("-inf")
        self._owed: deque[Callable[[], object]] = deque()
        """Steps that Redis did not hear of yet."""
        self._backoff_s = FIRST_BACKOFF_S
        self._logged_at = float("-inf")

    @classmethod
    def of(cls, settings: JudgeSettings, client: redis.Redis, worker_id: str, recent: Recent) -> SharedLimiter:
        """The limiter that a spec asks for."""
        return cls(client, limiter_key(settings), ceilings_of(settings), worker_id, recent)

    def pause(self, seconds: float) -> None:
        until = self._clock() + seconds
        self._paused_until = max(self._paused_until, until)
        self._owe(lambda: self._script.run("pause", max(0, round((until - self._clock()) * SECOND))))

    def _ask(self, call_id: str, input_tokens: int, output_tokens: int) -> Verdict:
        left = self._paused_until - self._clock()
        if left > 0:
            return Verdict(False, 0, math.ceil(left * SECOND), paused=True)
        try:
            self._pay()
            answer = self._script.run("ask", call_id, input_tokens, output_tokens, *self._limits())
            if answer.status == _UNKNOWN:
                self._seed()
                return Verdict(False, 0)
        except redis.RedisError as error:
            return self._unreachable(error)
        self._backoff_s = FIRST_BACKOFF_S
        if answer.status == _PAUSED:
            self._paused_until = self._clock() + answer.wait / SECOND
        return Verdict(answer.status == _ADMITTED, answer.moment, answer.wait, answer.status == _PAUSED)

    def _settle(self, admission: Admission, ending: Ending, used: tuple[int, int], told: RateLimits) -> None:
        reserved = (admission.input_tokens, admission.output_tokens)
        limits = (told.requests or 0, told.input_tokens or 0, told.output_tokens or 0, self._ceilings.concurrency)
        args = (admission.call_id, ending, admission.moment, *reserved, *used, *limits)
        self._owe(lambda: self._script.run("settle", *args))

    def _limits(self) -> tuple[int, int, int, int, int]:
        ceilings = self._ceilings
        return (
            ceilings.concurrency,
            ceilings.requests or 0,
            ceilings.input_tokens or 0,
            ceilings.output_tokens or 0,
            round(SLOT_S * SECOND),
        )

    def _owe(self, step: Callable[[], object]) -> None:
        """Carry out a step, now or, where Redis cannot be reached, before anybody is admitted again."""
        self._owed.append(step)
        try:
            self._pay()
        except redis.RedisError as error:
            self._unreachable(error)

    def _pay(self) -> None:
        with suppress(IndexError):
            while True:
                step = self._owed.popleft()
                try:
                    step()
                except redis.RedisError:
                    self._owed.append(step)
                    raise

    def _seed(self) -> None:
        """Begin anew with the calls of the last minute. What was admitted just before the loss may not be written yet."""
        if self._recent():
            self.sleep(SEED_GRACE_S)
        calls = [n for age, *tokens in self._recent() for n in (max(0, round(age * SECOND)), *tokens)]
        self._script.run("seed", *calls, epoch=uuid4().hex)

    def _unreachable(self, error: redis.RedisError) -> Verdict:
        """Redis cannot be reached: try again soon, ever less often. Said once a minute."""
        now = self._clock()
        if now - self._logged_at >= LOG_EVERY_S:
            self._logged_at = now
            _log.warning("Redis does not answer, so no judge is asked: %s", error)
        self._backoff_s = min(2 * self._backoff_s, LONGEST_BACKOFF_S)
        return Verdict(False, 0, round(self._backoff_s * SECOND))


def forget(client: redis.Redis, worker_id: str) -> None:
    """Free the slots that a dead worker holds in any limiter. Raises `redis.RedisError`."""
    for found in client.scan_iter(f"{PREFIX}*}}"):
        name = found.decode() if isinstance(found, bytes) else found
        Script(client, name.removeprefix(PREFIX).removesuffix("}")).run("forget", worker_id)
