"""The service's Celery application with its waits shortened, for tests that break it: `celery -A chaos_app worker ...`.

Redis hands messages out again after 2 s, tasks last 10 s, and the dead are found sooner.
"""

from __future__ import annotations

import workers.app
from workers import context, model_stages, reconcile, runner, tasks
from workers.steady_beat import Every

app = workers.app.app
app.conf.broker_transport_options |= {
    "visibility_timeout": 2,
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
}
app.conf.visibility_timeout = 2
app.conf.beat_schedule["reconcile"]["schedule"] = Every(1.0)
tasks.JUDGE_S = 10.0
context.BEAT_S = 1.0
reconcile.DEAD_S = 6.0
runner.FAULT_WAIT_S = 1.0
model_stages.SAME_HARVEST_S = 2.0
