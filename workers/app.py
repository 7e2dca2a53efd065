"""The Celery application: `celery -A workers.app worker -Q judge --pool threads -c 64`.

Messages are hints that a run may have work of a kind; what the work is stands in the ledger. So a message that is lost,
doubled or late costs nothing, and none is ever waited for.
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
from workers.steady_beat import Every

QUEUES = ("activations", "judge", "aggregate", "control")
RECONCILE_S = 5.0
NIGHTLY_S = 60.0
STALE_S = 86_400.0
VISIBILITY_S = 3600
"""Redis hands a message out again after this long; ours end long before, and would do no harm twice."""


def make_app(settings: Settings) -> Celery:
    """An application for the broker that the settings name. Raises `UsageError`."""
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
    """What beat sends: reminders. They go stale in a day, so that no clock an hour off makes them so on arrival."""
    entries: dict[str, Any] = {
        "reconcile": {"task": "autointerp.reconcile", "schedule": Every(RECONCILE_S), "options": {"expires": STALE_S}}
    }
    if settings.nightly is not None:
        entries["nightly"] = {"task": "autointerp.nightly", "schedule": NIGHTLY_S, "options": {"expires": NIGHTLY_S}}
    return entries


def _or_exit(what: Any, *arguments: Any) -> Any:
    """Call `what`; an error that a user can mend is one line on stderr, and the end of the process."""
    try:
        return what(*arguments)
    except AutointerpError as error:
        sys.exit(f"autointerp: {' '.join(str(error).split())}")


settings: Settings = _or_exit(Settings.from_env)
app: Celery = _or_exit(make_app, settings)


@setup_logging.connect
def _log(**_: Any) -> None:
    logs.configure(settings)


@worker_init.connect
def _refuse_open_doors(**_: Any) -> None:
    """Neither Redis nor the ledger may be open to strangers."""
    _or_exit(access.check_broker, settings)
    _or_exit(access.check_ledger, settings.ledger_url)


@worker_ready.connect
def _begin(sender: Any, **_: Any) -> None:
    context.queues = ",".join(sorted(queue.name for queue in sender.task_consumer.queues))
    _or_exit(context.current)


@worker_shutting_down.connect
def _stop(**_: Any) -> None:
    context.stop()


@worker_shutdown.connect
@worker_process_shutdown.connect
def _end(**_: Any) -> None:
    context.close()
