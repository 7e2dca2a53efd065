"""The Celery application: `celery -A workers.app worker -Q judge --pool threads -c 64`.

A message is a hint that a run may have work of some kind; the work itself is in the ledger. So a message that is lost,
duplicated or late does no harm, and nothing waits for one.
"""

from __future__ import annotations

import sys
from typing import Any

from celery import Celery
from celery.signals import (
    setup_logging,
    worker_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)

from autointerp.errors import AutointerpError
from autointerp.settings import Settings
from workers import access, context, logs
from workers.message_guard import GUARDED
from workers.steady_beat import MonotonicInterval

QUEUES = ("activations", "judge", "aggregate", "control")
RECONCILE_S = 5.0
NIGHTLY_S = 60.0
STALE_S = 86_400.0
"""Reconcile messages expire after a day and not sooner, so that a clock that is an hour off does not expire them on arrival."""
VISIBILITY_S = 3600
"""Redis delivers an unacknowledged message again after this time. Tasks end long before, and a repeated one does no harm."""


def make_app(settings: Settings) -> Celery:
    """A Celery application for the broker in the settings. Raises `UsageError`."""
    app = Celery("autointerp", broker=settings.broker_url, include=["workers.tasks"])
    app.conf.update(
        broker_use_ssl=settings.broker_tls,
        broker_connection_retry_on_startup=True,
        broker_transport_options={
            "visibility_timeout": VISIBILITY_S,
            "socket_timeout": 30,
            "socket_keepalive": True,
            "health_check_interval": 25,
        },
        visibility_timeout=VISIBILITY_S,
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_create_missing_queues=False,
        task_queues={name: {"exchange": name, "routing_key": name} for name in QUEUES},
        task_default_queue="control",
        task_routes={f"autointerp.{name}": {"queue": name} for name in QUEUES[:-1]}
        | {"autointerp.tend": {"queue": "judge"}},
        worker_prefetch_multiplier=1,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        beat_schedule=schedule(settings),
        beat_scheduler="workers.steady_beat:SteadyScheduler",
        timezone="UTC",
        **GUARDED,
    )
    return app


def schedule(settings: Settings) -> dict[str, Any]:
    """Celery beat's schedule: reconcile regularly and, if a nightly file is configured, check every minute for a night to start."""
    entries: dict[str, Any] = {
        "reconcile": {
            "task": "autointerp.reconcile",
            "schedule": MonotonicInterval(RECONCILE_S),
            "options": {"expires": STALE_S},
        }
    }
    if settings.nightly is not None:
        entries["nightly"] = {"task": "autointerp.nightly", "schedule": NIGHTLY_S, "options": {"expires": NIGHTLY_S}}
    return entries


def _or_exit(function: Any, *arguments: Any) -> Any:
    """Call a function. On an error that a user can fix, print it as one line and exit."""
    try:
        return function(*arguments)
    except AutointerpError as error:
        sys.exit(f"autointerp: {' '.join(str(error).split())}")


settings: Settings = _or_exit(Settings.from_env)
app: Celery = _or_exit(make_app, settings)


@setup_logging.connect
def _configure_logging(**_: Any) -> None:
    logs.configure(settings)


@worker_init.connect
def _check_access(**_: Any) -> None:
    """Refuse to start with a Redis or a ledger that anybody can use."""
    _or_exit(access.check_broker, settings)
    _or_exit(access.check_ledger, settings.ledger_url)


@worker_ready.connect
def _register_worker(sender: Any, **_: Any) -> None:
    context.queues = ",".join(sorted(queue.name for queue in sender.task_consumer.queues))
    _or_exit(context.current)


@worker_shutting_down.connect
def _stop(**_: Any) -> None:
    context.stop()


@worker_shutdown.connect
@worker_process_shutdown.connect
def _close(**_: Any) -> None:
    context.close()
