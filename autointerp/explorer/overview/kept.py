"""Values that take long to read, kept so that reading them takes a small share of the time however often they are asked for."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

from autointerp.monitoring.run_watch import MAX_LOAD

_MOST = 64


class Kept:
    """Values by key. A value is read again once ten times as long has passed as reading it took, or at once if its stamp differs."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._values: OrderedDict[Hashable, tuple[Hashable, float, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, read: Callable[[], Any], stamp: Hashable = None) -> Any:
        """The value under a key."""
        with self._lock:
            known = self._values.pop(key, None)
            if known is None or known[0] != stamp or (stamp is None and self._clock() >= known[1]):
                began = self._clock()
                value, ended = read(), self._clock()
                known = stamp, ended + (ended - began) / MAX_LOAD, value
            self._values[key] = known
            while len(self._values) > _MOST:
                self._values.popitem(last=False)
        return known[2]
