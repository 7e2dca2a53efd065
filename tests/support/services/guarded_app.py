"""A Celery app of one task behind the guard, for tests/test_guard.py: the broker is AUTOINTERP_BROKER."""

from __future__ import annotations

import celery

from autointerp.settings import Settings
from workers.message_guard import GUARDED

settings = Settings.from_env()
app = celery.Celery("guarded", broker=settings.broker_url)
app.conf.update(
    GUARDED,
    broker_use_ssl=settings.broker_tls,
    task_serializer="json",
    accept_content=["json"],
    task_ignore_result=True,
    task_default_queue="judge",
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
)


@app.task(name="workers.tasks.note")
def note(run_id: str) -> None:
    print(f"RAN {run_id}", flush=True)
