"""Leases jobs for the threads of a process together: threads that wait during a query of the ledger share its result."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
MAX_JOBS = 64
"""Largest number of jobs leased by one query."""


class SharedLeases(Generic[T]):
    """Leased jobs for waiting threads. Never leases more jobs than there are waiting threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        """Guards the dictionaries; not held during a query."""
        self._waiting: Counter[Hashable] = Counter()
        self._querying: defaultdict[Hashable, threading.Lock] = defaultdict(threading.Lock)
        self._ready: defaultdict[Hashable, deque[T]] = defaultdict(deque)

    def take(self, key: Hashable, lease: Callable[[int], Sequence[T]]) -> T | None:
        """One job for this thread, or None if there is none. Threads with the same `key` share what `lease(n)`, at most n jobs, returns."""
        with self._lock:
            self._waiting[key] += 1
            querying, ready = self._querying[key], self._ready[key]
        with querying:
            try:
                if not ready:  # else a thread that held the lock before leased a job for this one too
                    ready.extend(lease(min(MAX_JOBS, self._waiting[key])))
                return ready.popleft() if ready else None
            finally:
                # Before the next thread may query: a thread that still counted as waiting would get a job that nobody takes.
                with self._lock:
                    self._waiting[key] -= 1
                    if not self._waiting[key]:
                        del self._waiting[key], self._querying[key], self._ready[key]
