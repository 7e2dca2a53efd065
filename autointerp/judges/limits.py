"""Requests and tokens a minute over all threads of this process, and the pauses that a provider asks for.

pyrate-limiter comes closest among the libraries, but neither it nor limits or aiolimiter can settle a reservation to
what a call really used, hold everybody for a `retry-after`, and wake waiting threads when the run stops.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

WINDOW_S = 60.0


class Aborted(Exception):
    """The run is stopping: nothing more is admitted, and nobody waits any longer."""


@dataclass
class Admission:
    """One admitted call: when, and the tokens it holds against the limit."""

    moment: float
    tokens: int


class Window:
    """The calls admitted in the last minute, exactly. Pure: it knows neither clocks nor threads.

    In any 60 s at most `requests` calls are admitted and at most `tokens` tokens are held; the burst is the limit
    itself. A single call larger than `tokens` is admitted when the window is empty, alone, for it could never be
    otherwise.
    """

    def __init__(self, requests: int | None, tokens: int | None) -> None:
        self._requests = requests
        self._tokens = tokens
        self._admitted: deque[Admission] = deque()

    def delay(self, now: float, tokens: int) -> float:
        """Seconds from `now` until a call of `tokens` fits; 0 if it fits."""
        while self._admitted and self._admitted[0].moment + WINDOW_S <= now:
            self._admitted.popleft()
        held, count, wait = sum(call.tokens for call in self._admitted), len(self._admitted), 0.0
        for call in self._admitted:
            if self._fits(count, held, tokens):
                return wait
            wait = call.moment + WINDOW_S - now
            held, count = held - call.tokens, count - 1
        return wait

    def admit(self, now: float, tokens: int) -> Admission:
        """Count a call of `tokens`, which `delay` said fits."""
        call = Admission(now, tokens)
        self._admitted.append(call)
        return call

    def _fits(self, count: int, held: int, tokens: int) -> bool:
        if self._requests is not None and count >= self._requests:
            return False
        return self._tokens is None or held + tokens <= self._tokens


class Limiter:
    """Admission for all threads that share an account, in the order in which they ask.

    `clock` is monotonic, in seconds; `wait` waits on a condition for at most so many seconds (None: until it is
    notified). Tests replace both.
    """

    def __init__(
        self,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[threading.Condition, float | None], object] = threading.Condition.wait,
    ) -> None:
        self._window = Window(requests_per_minute, tokens_per_minute)
        self._unlimited = requests_per_minute is None and tokens_per_minute is None
        self._clock = clock
        self._wait = wait
        self._lock = threading.Lock()
        self._queue: deque[threading.Condition] = deque()
        self._paused_until = float("-inf")
        self._aborted = threading.Event()

    @property
    def aborted(self) -> bool:
        """Whether `abort` was called."""
        return self._aborted.is_set()

    def acquire(self, tokens: int = 0) -> Admission:
        """Wait until a call of up to `tokens` (input estimate and reserved output) is admitted. Raises `Aborted`."""
        with self._lock:
            mine = threading.Condition(self._lock)
            self._queue.append(mine)
            try:
                while True:
                    if self._aborted.is_set():
                        raise Aborted
                    if self._queue[0] is not mine:
                        self._wait(mine, None)
                        continue
                    delay = self._delay(tokens)
                    if delay <= 0:
                        now = self._clock()
                        return Admission(now, tokens) if self._unlimited else self._window.admit(now, tokens)
                    self._wait(mine, delay)
            finally:
                self._queue.remove(mine)
                self._wake_first()

    def settle(self, admission: Admission, tokens: int) -> None:
        """Replace what `admission` reserved by the tokens that its call used, which makes room for others."""
        with self._lock:
            admission.tokens = tokens
            self._wake_first()

    def pause(self, seconds: float) -> None:
        """Admit nobody for `seconds`: the provider asked for it. A shorter pause never ends a longer one."""
        with self._lock:
            self._paused_until = max(self._paused_until, self._clock() + seconds)

    def abort(self) -> None:
        """Wake everybody who waits or sleeps here; they and all later callers get `Aborted`."""
        self._aborted.set()
        with self._lock:
            for waiting in self._queue:
                waiting.notify()

    def sleep(self, seconds: float) -> None:
        """Sleep, unless the run stops. Raises `Aborted`."""
        if self._aborted.wait(seconds):
            raise Aborted

    def _delay(self, tokens: int) -> float:
        now = self._clock()
        return max(self._paused_until - now, 0.0 if self._unlimited else self._window.delay(now, tokens))

    def _wake_first(self) -> None:
        if self._queue:
            self._queue[0].notify()
