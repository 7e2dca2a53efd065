"""Celery beat on the monotonic clock, so that setting the host's clock neither stops it for an hour nor makes it fire repeatedly.

Celery's own scheduler compares wall clocks in two places: to order its entries, and to decide whether one is due.
"""

from __future__ import annotations

import time
from typing import Any

from celery.beat import PersistentScheduler
from celery.schedules import schedstate, schedule


class SteadyScheduler(PersistentScheduler):  # type: ignore[misc]
    """Celery's scheduler, with its entries ordered by the monotonic clock. `_when` is private: check it at each upgrade of Celery."""

    def setup_schedule(self) -> None:
        try:
            super().setup_schedule()
        except (ImportError, AttributeError) as error:
            # Another version pickled the entries, and their classes have moved. Nothing in the file needs to be kept.
            self._store = self._destroy_open_corrupted_schedule(error)
            super().setup_schedule()

    def _when(self, entry: Any, next_time_to_run: float, mktime: Any = None) -> float:
        return time.monotonic() + (self.adjust(next_time_to_run) or 0.0)


class MonotonicInterval(schedule):  # type: ignore[misc]
    """Due at once, and then each time the interval has passed on this process's monotonic clock."""

    _next = 0.0

    def is_due(self, last_run_at: Any) -> schedstate:
        now, seconds = time.monotonic(), self.run_every.total_seconds()
        if now < self._next:
            return schedstate(is_due=False, next=self._next - now)
        self._next = now + seconds
        return schedstate(is_due=True, next=seconds)
