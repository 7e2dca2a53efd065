"""Leases for the threads of a process together: whoever comes while one of them asks the ledger is served by the same answer."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
MOST = 64
"""Jobs of one lease at most."""


class Leases(Generic[T]):
    """Jobs that were leased for threads that are waiting for them. None is leased that nobody waits for."""

    def __init__(self) -> None:
        self._counting = threading.Lock()
        self._waiting: Counter[Hashable] = Counter()
        self._asking: defaultdict[Hashable, threading.Lock] = defaultdict(threading.Lock)
        self._ready: defaultdict[Hashable, deque[T]] = defaultdict(deque)

    def take(self, of: Hashable, lease: Callable[[int], Sequence[T]]) -> T | None:
        """One job of `of`, leased by this thread or by another for it; None when there is none. `lease` takes up to so many."""
        with self._counting:
            self._waiting[of] += 1
            asking, ready = self._asking[of], self._ready[of]
        try:
            with asking:
                if not ready:
                    ready.extend(lease(min(MOST, self._waiting[of])))
                return ready.popleft() if ready else None
        finally:
            with self._counting:
                self._waiting[of] -= 1
                if not self._waiting[of]:
                    del self._waiting[of], self._asking[of], self._ready[of]
