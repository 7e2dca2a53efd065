"""Requests, tokens and calls in flight, over all threads of a process or, where it is shared, over a fleet.

Of the libraries, pyrate-limiter 4.5, limits 5.8, throttled-py 3.5 and aiolimiter 1.3 count what was asked for against
fixed rates, the last within one event loop only. None holds requests and two kinds of tokens in one step, settles a
reservation to what the call really used, bounds and adapts the calls in flight, holds everybody for a `retry-after`, or
wakes waiting threads when the run stops. Celery's `rate_limit` counts tasks a worker. So the rules are our own
(`autointerp.judges.window`); `SharedLimiter` has them in Redis.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol
from uuid import uuid4

from autointerp.judges.base import JudgeError, MayRetry, MustWait
from autointerp.judges.limits.admission_window import SECOND, WINDOW_S, Ceilings, Ending, Verdict, Window
from autointerp.messages import RateLimits, Reply, Usage
from autointerp.spec.sections import Judge as JudgeSettings

__all__ = ["Aborted", "Admission", "Held", "Limiter", "LocalLimiter", "Settled", "ceilings_of", "limiter_key"]

PATIENCE_S = 30.0
"""A longer pause is not sat out: the item goes back to the ledger."""
SLOT_S = 900.0
"""A call that is not settled after so long is not waited for. No provider's timeout is longer."""

_KEYS = {
    "anthropic": ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
    "openai": ("OPENAI_API_KEY",),
    "openai-compatible": ("OPENAI_COMPATIBLE_API_KEY",),
}


class Aborted(Exception):
    """The run is stopping: nothing more is admitted, and nobody waits any longer."""


class Held(Exception):
    """The provider asked for a pause, and its `seconds` left are more than a caller waits for."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the provider asked for a pause: {seconds:.0f} s of it are left")
        self.seconds = seconds


@dataclass(frozen=True)
class Admission:
    """One admitted call: when, in microseconds of the limiter's own clock, and the tokens it holds against the limits."""

    call_id: str
    moment: int
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class Settled:
    """How a call ended, the tokens it used (None: unknown, what was reserved stays), and what its headers told."""

    ending: Ending
    input_tokens: int | None = None
    output_tokens: int | None = None
    limits: RateLimits | None = None

    @classmethod
    def of(cls, outcome: Reply | JudgeError) -> Settled:
        """What the outcome of an attempt tells the limiter. A failure that used nothing still counts as a request."""
        usage = outcome.usage or Usage()
        ending: Ending = "ok"
        if isinstance(outcome, MustWait | MayRetry):
            ending = "limited" if isinstance(outcome, MustWait) else "failed"
        if not usage.known:
            return cls(ending, limits=outcome.limits)
        return cls(ending, usage.input_tokens + usage.cache_write_tokens, usage.output_tokens, outcome.limits)

    @classmethod
    def unused(cls) -> Settled:
        """The call was never made: it counts for nothing."""
        return cls("unused", 0, 0)


class Limiter(Protocol):
    """Admission for all who share an account and model."""

    @property
    def aborted(self) -> bool:
        """Whether `abort` was called."""
        ...

    def acquire(self, input_tokens: int, output_tokens: int) -> Admission:
        """Wait until a call of up to so many tokens is admitted. Raises `Aborted`, and `Held` where a pause is long."""
        ...

    def settle(self, admission: Admission, settled: Settled) -> None:
        """Replace what `admission` reserved by what its call used. Every admission is settled once."""
        ...

    def pause(self, seconds: float) -> None:
        """Admit nobody for `seconds`: the provider asked for it. A shorter pause never ends a longer one."""
        ...

    def abort(self) -> None:
        """Wake everybody who waits or sleeps here; they and all later callers get `Aborted`."""
        ...

    def fresh(self) -> None:
        """Admit again after `abort`; what was counted stays counted."""
        ...

    def sleep(self, seconds: float) -> None:
        """Sleep, unless the run stops. Raises `Aborted`."""
        ...


class QueuedLimiter(ABC):
    """What both limiters share: a process asks for one call at a time, in the order in which its threads came.

    `clock` is monotonic, in seconds; `wait` waits on a condition for at most so many seconds (None: until it is
    notified). Tests replace both.
    """

    def __init__(
        self,
        ceilings: Ceilings,
        worker_id: str = "local",
        *,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[threading.Condition, float | None], object] = threading.Condition.wait,
    ) -> None:
        self._ceilings = ceilings
        self._clock = clock
        self._wait = wait
        life = uuid4().hex[:8]
        self._call_ids = (f"{worker_id}/{life}-{number}" for number in itertools.count())
        self._lock = threading.Lock()
        self._queue: deque[threading.Condition] = deque()
        self._news = 0
        """Counts what may let the first in line in, so that nothing is missed between asking and waiting."""
        self._aborted = threading.Event()

    @property
    def aborted(self) -> bool:
        return self._aborted.is_set()

    def acquire(self, input_tokens: int, output_tokens: int) -> Admission:
        with self._lock:
            mine = threading.Condition(self._lock)
            self._queue.append(mine)
            call_id = next(self._call_ids)
        try:
            while True:
                heard = self._my_turn(mine)
                verdict = self._ask(call_id, input_tokens, output_tokens)
                if verdict.admitted:
                    return Admission(call_id, verdict.moment, input_tokens, output_tokens)
                seconds = verdict.wait / SECOND
                if verdict.paused and seconds > PATIENCE_S:
                    raise Held(seconds)
                with self._lock:
                    if self._news == heard:
                        self._wait(mine, seconds)
        finally:
            with self._lock:
                self._queue.remove(mine)
                self._tell_first()

    def settle(self, admission: Admission, settled: Settled) -> None:
        used = (
            admission.input_tokens if settled.input_tokens is None else settled.input_tokens,
            admission.output_tokens if settled.output_tokens is None else settled.output_tokens,
        )
        self._settle(admission, settled.ending, used, settled.limits or RateLimits())
        with self._lock:
            self._tell_first()

    @abstractmethod
    def pause(self, seconds: float) -> None: ...

    def abort(self) -> None:
        self._aborted.set()
        with self._lock:
            self._news += 1
            for waiting in self._queue:
                waiting.notify()

    def fresh(self) -> None:
        self._aborted.clear()

    def sleep(self, seconds: float) -> None:
        if self._aborted.wait(seconds):
            raise Aborted

    @abstractmethod
    def _ask(self, call_id: str, input_tokens: int, output_tokens: int) -> Verdict: ...

    @abstractmethod
    def _settle(self, admission: Admission, ending: Ending, used: tuple[int, int], told: RateLimits) -> None: ...

    def _my_turn(self, mine: threading.Condition) -> int:
        """Wait to be the first in line; the count of news at that moment."""
        with self._lock:
            while True:
                if self._aborted.is_set():
                    raise Aborted
                if self._queue[0] is mine:
                    return self._news
                self._wait(mine, None)

    def _tell_first(self) -> None:
        self._news += 1
        if self._queue:
            self._queue[0].notify()


class LocalLimiter(QueuedLimiter):
    """Admission for the threads of this process."""

    def __init__(
        self,
        ceilings: Ceilings,
        *,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[threading.Condition, float | None], object] = threading.Condition.wait,
    ) -> None:
        super().__init__(ceilings, clock=clock, wait=wait)
        self._window = Window(WINDOW_S)
        self._started = clock()

    @classmethod
    def of(cls, settings: JudgeSettings) -> LocalLimiter:
        """The limiter that a spec asks for."""
        return cls(ceilings_of(settings))

    def pause(self, seconds: float) -> None:
        with self._lock:
            self._window.pause(self._now(), round(seconds * SECOND))

    def _ask(self, call_id: str, input_tokens: int, output_tokens: int) -> Verdict:
        with self._lock:
            return self._window.ask(
                self._now(), call_id, input_tokens, output_tokens, self._ceilings, round(SLOT_S * SECOND)
            )

    def _settle(self, admission: Admission, ending: Ending, used: tuple[int, int], told: RateLimits) -> None:
        with self._lock:
            self._window.settle(
                self._now(), admission.call_id, admission.moment, ending, *used, told, self._ceilings.concurrency
            )

    def _now(self) -> int:
        return round((self._clock() - self._started) * SECOND)


def ceilings_of(settings: JudgeSettings) -> Ceilings:
    """What the spec allows of a judge."""
    return Ceilings(
        settings.concurrency,
        settings.requests_per_minute,
        settings.input_tokens_per_minute,
        settings.output_tokens_per_minute,
    )


def limiter_key(settings: JudgeSettings) -> str:
    """Names those who share a limit: `provider/model` and a hash of the account, from which no key can be read."""
    provider = settings.model.partition("/")[0]
    secret = next((os.environ[name] for name in _KEYS.get(provider, ()) if os.environ.get(name)), "")
    account = hashlib.sha256(f"{secret}\n{settings.base_url or ''}".encode()).hexdigest()[:12]
    return f"{settings.model}/{account}"
