"""Limits requests, tokens and calls in flight, over all threads of a process.

The rules are in `autointerp.judges.limits.admission_window`; `SharedLimiter` applies them to all processes that share a Redis. Existing
libraries do not suffice: pyrate-limiter 4.5, limits 5.8, throttled-py 3.5 and aiolimiter 1.3 (the last for one event loop only) compare
what was requested with fixed rates. None of them takes requests and two kinds of tokens in one step, corrects a reservation to what
the call used, bounds and adapts the calls in flight, pauses all callers for a `retry-after`, or wakes waiting threads when the run stops.
Celery's `rate_limit` counts tasks per worker.
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
from autointerp.judges.limits.admission_window import SECOND, WINDOW_S, Ceilings, Decision, Ending, Window
from autointerp.messages import RateLimits, Reply, Usage
from autointerp.spec.judge_sections import Judge as JudgeSettings
from autointerp.spec.providers import PROVIDERS, provider_of

__all__ = ["Aborted", "Admission", "CallOutcome", "Limiter", "LocalLimiter", "LongPause", "ceilings_of", "limiter_key"]

MAX_PAUSE_S = 30.0
"""Longest pause that a caller waits for; the item of a longer one goes back to the ledger."""
SLOT_TIMEOUT_S = 900.0
"""After this time the slot of a call that was not settled is freed. No provider's timeout is longer."""


class Aborted(Exception):
    """The run is stopping: no call is admitted, and no thread waits any longer."""


class LongPause(Exception):
    """The provider requested a pause, and the remaining `seconds` are more than a caller waits for."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the provider asked for a pause: {seconds:.0f} s of it are left")
        self.seconds = seconds


@dataclass(frozen=True)
class Admission:
    """An admitted call: when, in microseconds of the limiter's own clock, and the tokens that it reserves."""

    call_id: str
    moment: int
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class CallOutcome:
    """How a call ended, the tokens that it used (None: unknown, its reservation stays), and the limits that its headers stated."""

    ending: Ending
    input_tokens: int | None = None
    output_tokens: int | None = None
    limits: RateLimits | None = None

    @classmethod
    def of(cls, outcome: Reply | JudgeError) -> CallOutcome:
        """The outcome of an attempt, as the limiter counts it. A failure that used no tokens still counts as a request."""
        usage = outcome.usage or Usage()
        ending: Ending = "ok"
        if isinstance(outcome, MustWait | MayRetry):
            ending = "limited" if isinstance(outcome, MustWait) else "failed"
        if not usage.known:
            return cls(ending, limits=outcome.limits)
        # Tokens read from a cache do not count against the providers' limits.
        return cls(ending, usage.input_tokens + usage.cache_write_tokens, usage.output_tokens, outcome.limits)

    @classmethod
    def unused(cls) -> CallOutcome:
        """The call was never made: it counts for nothing."""
        return cls("unused", 0, 0)


class Limiter(Protocol):
    """Admission for all callers that share an account and model."""

    @property
    def aborted(self) -> bool:
        """Whether `abort` was called."""
        ...

    def acquire(self, input_tokens: int, output_tokens: int) -> Admission:
        """Block until a call of at most this size is admitted.

        Raises `Aborted`, or `LongPause` if the provider's pause is too long to wait for.
        """
        ...

    def settle(self, admission: Admission, outcome: CallOutcome) -> None:
        """Replace what `admission` reserved by what its call used. Every admission is settled once."""
        ...

    def pause(self, seconds: float) -> None:
        """Admit no call for `seconds`, as the provider requested. A shorter pause never ends a longer one."""
        ...

    def abort(self) -> None:
        """Wake every thread that waits or sleeps here; it and all later callers get `Aborted`."""
        ...

    def reset(self) -> None:
        """Admit calls again after `abort`; what was counted stays counted."""
        ...

    def sleep(self, seconds: float) -> None:
        """Sleep. Raises `Aborted` as soon as the run stops."""
        ...


class QueuedLimiter(ABC):
    """What both limiters share: a process asks for one call at a time, in the order in which its threads arrived.

    `clock` is monotonic, in seconds; `wait` waits on a condition for at most the given seconds (None: until it is notified). Tests
    replace both.
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
        # A process may have several limiters with the same worker id: their call ids must differ.
        instance = uuid4().hex[:8]
        self._call_ids = (f"{worker_id}/{instance}-{number}" for number in itertools.count())
        self._lock = threading.Lock()
        self._queue: deque[threading.Condition] = deque()
        self._wake_count = 0
        """Changes with every event that may admit the first in the queue. If it changed between asking and waiting, there is no wait."""
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
                wake_count = self._wait_to_be_first(mine)
                # Asked without the lock: Redis may take its time, and other threads must be able to settle meanwhile.
                decision = self._ask(call_id, input_tokens, output_tokens)
                if decision.admitted:
                    return Admission(call_id, decision.moment, input_tokens, output_tokens)
                seconds = decision.wait / SECOND
                if decision.paused and seconds > MAX_PAUSE_S:
                    raise LongPause(seconds)
                with self._lock:
                    if self._wake_count == wake_count:
                        self._wait(mine, seconds)
        finally:
            with self._lock:
                self._queue.remove(mine)
                self._wake_first()

    def settle(self, admission: Admission, outcome: CallOutcome) -> None:
        used = (
            admission.input_tokens if outcome.input_tokens is None else outcome.input_tokens,
            admission.output_tokens if outcome.output_tokens is None else outcome.output_tokens,
        )
        self._settle(admission, outcome.ending, used, self._believed(outcome.limits or RateLimits()))
        with self._lock:
            self._wake_first()

    def _believed(self, stated: RateLimits) -> RateLimits:
        """The stated limits that the spec does not set itself: its own count, because headers may be wrong or of another unit."""
        own = self._ceilings
        return RateLimits(
            stated.requests if own.requests is None else None,
            stated.input_tokens if own.input_tokens is None else None,
            stated.output_tokens if own.output_tokens is None else None,
        )

    @abstractmethod
    def pause(self, seconds: float) -> None: ...

    def abort(self) -> None:
        self._aborted.set()
        with self._lock:
            self._wake_count += 1
            for waiting in self._queue:
                waiting.notify()

    def reset(self) -> None:
        self._aborted.clear()

    def sleep(self, seconds: float) -> None:
        if self._aborted.wait(seconds):
            raise Aborted

    @abstractmethod
    def _ask(self, call_id: str, input_tokens: int, output_tokens: int) -> Decision: ...

    @abstractmethod
    def _settle(self, admission: Admission, ending: Ending, used: tuple[int, int], stated: RateLimits) -> None: ...

    def _wait_to_be_first(self, mine: threading.Condition) -> int:
        """Wait to be the first in the queue, and return the wake count at that moment."""
        with self._lock:
            while True:
                if self._aborted.is_set():
                    raise Aborted
                if self._queue[0] is mine:
                    return self._wake_count
                self._wait(mine, None)

    def _wake_first(self) -> None:
        self._wake_count += 1
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
        """A limiter with the limits of a spec's judge."""
        return cls(ceilings_of(settings))

    def pause(self, seconds: float) -> None:
        with self._lock:
            self._window.pause(self._now(), round(seconds * SECOND))

    def _ask(self, call_id: str, input_tokens: int, output_tokens: int) -> Decision:
        with self._lock:
            return self._window.ask(
                self._now(), call_id, input_tokens, output_tokens, self._ceilings, round(SLOT_TIMEOUT_S * SECOND)
            )

    def _settle(self, admission: Admission, ending: Ending, used: tuple[int, int], stated: RateLimits) -> None:
        with self._lock:
            self._window.settle(
                self._now(), admission.call_id, admission.moment, ending, *used, stated, self._ceilings.concurrency
            )

    def _now(self) -> int:
        return round((self._clock() - self._started) * SECOND)


def ceilings_of(settings: JudgeSettings) -> Ceilings:
    """The limits of a spec's judge."""
    return Ceilings(
        settings.concurrency,
        settings.requests_per_minute,
        settings.input_tokens_per_minute,
        settings.output_tokens_per_minute,
    )


def limiter_key(settings: JudgeSettings) -> str:
    """The name of a shared limiter: `provider/model` and a hash of the account, from which no key can be read.

    An account is a key at an address, however either is given: two keys at one address have limits of their own.
    """
    provider = PROVIDERS.get(provider_of(settings.model))
    variable = provider.key_variable(settings.address, settings.key_env) if provider else ""
    secret = os.environ.get(variable, "").strip()
    account = hashlib.sha256(f"{secret}\n{settings.address.rstrip('/')}".encode()).hexdigest()[:12]
    return f"{settings.model}/{account}"
