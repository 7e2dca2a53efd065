"""Lets nothing but the service's own small JSON messages through to its tasks.

Celery believes whoever can write to the broker. Here a message is looked at twice: as it comes from Redis, before its body is
decoded (`GuardedTransport`), and as a task, before anything of it is used (`GuardedConsumer`). What does not belong is dropped with one line
in the log and never put back; as messages are hints, nothing is lost by it. Importing this module makes its transport kombu's
for Redis; the settings `GUARDED` do the rest.
"""

from __future__ import annotations

import inspect
import json
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

import celery.worker.consumer
import kombu.transport.redis
from kombu.transport import TRANSPORT_ALIASES

LARGEST = 4096
"""Bytes of a whole message, headers included; ours have about 1,200."""
OWN_QUEUES = ("celery.pidbox", "celeryev")
"""Celery's own traffic: remote control and events, which may be larger and are not tasks."""
ARGUMENT = re.compile(r"[\w.:-]{1,128}")
GUARDED = {"worker_consumer": f"{__name__}:GuardedConsumer"}
"""Settings of a Celery app that put the guard in place."""
# By its alias, and not as `broker_transport`, so that the broker's URL stays one that flower can read.
TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), f"{__name__}:GuardedTransport"))

_MALFORMED = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
_log = logging.getLogger(__name__)


class GuardedChannel(kombu.transport.redis.Channel):
    """Redis's channel, which survives what is not a message at all."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]
        except _MALFORMED as error:
            _refuse("?", f"it is not a message ({type(error).__name__})")
            return True


class GuardedTransport(kombu.transport.redis.Transport):
    """Redis's transport, which drops what is not a small piece of JSON."""

    Channel = GuardedChannel

    def _deliver(self, message: Any, queue: str) -> None:
        problem = problem_with_envelope(message, task=not any(name in queue for name in OWN_QUEUES))
        if problem:
            _refuse(queue, problem)
        else:
            super()._deliver(message, queue)  # type: ignore[no-untyped-call]


class GuardedConsumer(celery.worker.consumer.Consumer):  # type: ignore[misc]
    """Celery's consumer, which rejects tasks that are not the service's or not asked for as it asks."""

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], None]:
        handle = super().create_task_handler(*args, **kwargs)

        def guarded(message: Any) -> None:
            problem = problem_with_task(message.headers, message.body, self.app.tasks)
            if not problem:
                try:
                    handle(message)
                    return
                except self.connection_errors:
                    raise
                except Exception as error:  # what Celery chokes on must not end the worker
                    problem = f"Celery cannot read it ({type(error).__name__})"
            if not message.acknowledged:
                message.reject_log_error(_log, self.connection_errors)
            _refuse(message.delivery_info.get("routing_key"), problem)

        return guarded

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        message.reject_log_error(_log, self.connection_errors)
        _refuse(message.delivery_info.get("routing_key"), f"Celery cannot read it ({type(exc).__name__})")

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        message.reject_log_error(_log, self.connection_errors)
        _refuse(message.delivery_info.get("routing_key"), f"it cannot be decoded ({type(exc).__name__})")


def problem_with_envelope(message: Any, *, task: bool) -> str:
    """What is wrong with a message as it lay in Redis, or an empty string. Its body is not decoded."""
    if not isinstance(message, dict):
        return "it is not a message"
    headers, properties = message.get("headers"), message.get("properties")
    if not isinstance(headers, dict) or not isinstance(properties, dict):
        return "it has no headers or no properties"
    if not isinstance(properties.get("delivery_tag"), str) or not isinstance(properties.get("delivery_info"), dict):
        return "it has no delivery tag"
    size = len(json.dumps(message))
    if task and size > LARGEST:
        return f"it has {size} bytes, more than {LARGEST}"
    if message.get("content-type") != "application/json" or message.get("content-encoding") != "utf-8":
        return f"its content is {_shown(message.get('content-type'))} in {_shown(message.get('content-encoding'))}, not JSON"
    if "compression" in headers:
        return f"it is compressed by {_shown(headers['compression'])}"
    return ""


def problem_with_task(headers: Mapping[str, Any], body: Any, tasks: Mapping[str, Any]) -> str:
    """What is wrong with a task message, or an empty string: its name, its arguments, or wishes that the service never has."""
    name = headers.get("task")
    if not isinstance(name, str) or name not in tasks or name.startswith("celery."):
        return f"task {_shown(name)} is not one of this service"
    if not isinstance(headers.get("id"), str) or headers.get("eta"):
        return f"task {name} has no id, or asks to be run later"
    try:
        args, kwargs, embedded = json.loads(body)
        inspect.signature(tasks[name].run).bind(*args, **kwargs)
        values = [*args, *kwargs.values()]
        follows = [key for key, value in embedded.items() if value]
    except _MALFORMED:
        return f"task {name} is asked for with arguments that it does not take"
    if not all(isinstance(value, str) and ARGUMENT.fullmatch(value) for value in values):
        return f"task {name} is asked for with arguments that are not names"
    if follows:
        return f"task {name} brings {_shown(follows[0])}, tasks to run after it"
    return ""


def _refuse(queue: Any, problem: str) -> None:
    _log.warning("message on queue %s refused: %s", _shown(queue), problem)


def _shown(value: Any) -> str:
    """At most 64 characters on one line, whatever it is."""
    text = repr(value)
    return text if len(text) <= 64 else text[:60] + "...'"
