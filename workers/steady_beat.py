"""Beat by the monotonic clock: setting the host's clock neither silences it for an hour nor makes it fire a thousand times.

Celery's own scheduler compares wall clocks twice, in the order of its entries and in whether one is due.
"""

from __future__ import annotations

import time
from typing import Any

from celery.beat import PersistentScheduler
from celery.schedules import schedstate, schedule


class SteadyScheduler(PersistentScheduler):  # type: ignore[misc]
    """Celery's scheduler with its entries in the order of a clock that nobody sets."""

    def _when(self, entry: Any, next_time_to_run: float, mktime: Any = None) -> float:
        return time.monotonic() + (self.adjust(next_time_to_run) or 0.0)


class Every(schedule):  # type: ignore[misc]
    """Due at once, and again each time that so many seconds have passed in this process."""

    _next = 0.0

    def is_due(self, last_run_at: Any) -> schedstate:
        now, seconds = time.monotonic(), self.run_every.total_seconds()
        if now < self._next:
            return schedstate(is_due=False, next=self._next - now)
        self._next = now + seconds
        return schedstate(is_due=True, next=seconds)
