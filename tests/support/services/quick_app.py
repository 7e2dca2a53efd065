"""The service's Celery application with short waits, for tests: `celery -A support.services.quick_app worker ...`.

Heartbeats, the time until a worker counts as dead, polls and retries take a second or less instead of 3 to 30.
"""

from __future__ import annotations

from typing import Any

import workers.app
from autointerp.calls import batch_state, batches, caller
from workers import context, model_stages, reconcile, runner
from workers.steady_beat import MonotonicInterval

DEAD_S = 4.0
"""Longer than a busy machine keeps a worker from its heartbeat."""


def set_constant(module: Any, name: str, seconds: float) -> None:
    """Change a module's constant. Raises `AttributeError` if it has no such constant."""
    getattr(module, name)
    setattr(module, name, seconds)


app = workers.app.app
app.conf.beat_schedule["reconcile"]["schedule"] = MonotonicInterval(0.5)
set_constant(context, "BEAT_S", 0.5)
set_constant(reconcile, "DEAD_S", DEAD_S)
set_constant(reconcile, "MIN_INTERVAL_S", 0.2)
set_constant(reconcile, "MAX_HINTS", 16)  # twice the threads of a worker
set_constant(runner, "RETRY_AFTER_ERROR_S", 1.0)
set_constant(model_stages, "SAME_HARVEST_S", 0.5)
set_constant(batch_state, "MIN_POLL_S", 0.2)
set_constant(batch_state, "RETRY_S", 0.5)
set_constant(batches, "WAIT_S", 1.0)
set_constant(caller, "MIN_PAUSE_S", 0.5)
