"""`quick_app`, with a Redis that delivers messages again while tasks are still running: `celery -A support.services.chaos_app ...`.

Redis delivers a message again after 2 s, while a task runs for up to 10 s.
"""

from __future__ import annotations

from support.services.quick_app import app, set_constant

from workers import tasks

app.conf.broker_transport_options |= {
    "visibility_timeout": 2,
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
}
app.conf.visibility_timeout = 2
set_constant(tasks, "JUDGE_S", 10.0)
