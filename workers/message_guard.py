"""Rejects every message that is not one of the service's own small JSON tasks.

Celery trusts anybody who can write to the broker. Here a message is checked twice: when it is read from Redis, before its body
is decoded (`GuardedTransport`), and as a task, before any part of it is used (`GuardedConsumer`). A rejected message is logged
in one line and dropped; messages are only hints, so nothing is lost. Importing this module registers the transport in kombu;
the settings `GUARDED` install the consumer.

kombu and Celery have no public hook at these points, so private methods are overridden here: check them at each upgrade.
"""

from __future__ import annotations

import inspect
import json
import logging
import re
from collections.abc import Callable, Mapping
from queue import Empty
from typing import Any

import celery.worker.consumer
import kombu.transport.redis
from kombu.transport import TRANSPORT_ALIASES

MAX_BYTES = 4096
"""Largest accepted message, headers included. The service's own have about 1,200 bytes."""
OWN_QUEUES = ("celery.pidbox", "celeryev")
"""Queues of Celery's remote control and events, whose messages may be larger and are not tasks."""
SAFE_ARGUMENT = re.compile(r"[\w.:-]{1,128}")
GUARDED = {"worker_consumer": f"{__name__}:GuardedConsumer"}
"""Settings of a Celery app that install the guard."""
# Registered under kombu's own alias instead of as `broker_transport`, so that Flower can still read the broker's URL.
TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), f"{__name__}:GuardedTransport"))

_MALFORMED = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
_log = logging.getLogger(__name__)


class GuardedChannel(kombu.transport.redis.Channel):
    """kombu's Redis channel, except that data which is not a message does not end the worker."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]
        except _MALFORMED as error:
            _reject("?", f"it is not a message ({type(error).__name__})")
            return True

    def _receive_one(self, c: Any) -> Any:
        """Read one message that is sent to every worker, such as an event or a command of remote control."""
        try:
            return super()._receive_one(c)  # type: ignore[no-untyped-call]
        except (Empty, *_MALFORMED) as error:
            _reject("broadcast", f"it is not a message ({type(error).__name__})")
            return True


class GuardedTransport(kombu.transport.redis.Transport):
    """kombu's Redis transport, except that it drops everything but small JSON messages."""

    Channel = GuardedChannel

    def _deliver(self, message: Any, queue: str) -> None:
        problem = problem_with_envelope(message, task=not any(name in queue for name in OWN_QUEUES))
        if problem:
            _reject(queue, problem)
        else:
            super()._deliver(message, queue)  # type: ignore[no-untyped-call]


class GuardedConsumer(celery.worker.consumer.Consumer):  # type: ignore[misc]
    """Celery's consumer, except that it rejects tasks of other names or with unusual arguments or options."""

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
                except Exception as error:  # a message that Celery cannot handle must not end the worker
                    problem = f"Celery cannot read it ({type(error).__name__})"
            if not message.acknowledged:
                message.reject_log_error(_log, self.connection_errors)
            _reject(message.delivery_info.get("routing_key"), problem)

        return guarded

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        message.reject_log_error(_log, self.connection_errors)
        _reject(message.delivery_info.get("routing_key"), f"Celery cannot read it ({type(exc).__name__})")

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        message.reject_log_error(_log, self.connection_errors)
        _reject(message.delivery_info.get("routing_key"), f"it cannot be decoded ({type(exc).__name__})")


def problem_with_envelope(message: Any, *, task: bool) -> str:
    """Why a message read from Redis is rejected, or an empty string. Its body is not decoded."""
    if not isinstance(message, dict):
        return "it is not a message"
    headers, properties = message.get("headers"), message.get("properties")
    if not isinstance(headers, dict) or not isinstance(properties, dict):
        return "it has no headers or no properties"
    if not isinstance(properties.get("delivery_tag"), str) or not isinstance(properties.get("delivery_info"), dict):
        return "it has no delivery tag"
    size = len(json.dumps(message))
    if task and size > MAX_BYTES:
        return f"it has {size} bytes, more than {MAX_BYTES}"
    if message.get("content-type") != "application/json" or message.get("content-encoding") != "utf-8":
        return f"its content is {_shown(message.get('content-type'))} in {_shown(message.get('content-encoding'))}, not JSON"
    if "compression" in headers:
        return f"it is compressed by {_shown(headers['compression'])}"
    return ""


def problem_with_task(headers: Mapping[str, Any], body: Any, tasks: Mapping[str, Any]) -> str:
    """Why a task message is rejected, or an empty string. Checks its name, arguments and options that the service never uses."""
    name = headers.get("task")
    if not isinstance(name, str) or name not in tasks or name.startswith("celery."):
        return f"task {_shown(name)} is not a task of this service"
    if not isinstance(headers.get("id"), str) or headers.get("eta"):
        return f"task {name} has no id, or a start time"
    try:
        args, kwargs, embedded = json.loads(body)
        inspect.signature(tasks[name].run).bind(*args, **kwargs)
        values = [*args, *kwargs.values()]
        follow_ups = [key for key, value in embedded.items() if value]
    except _MALFORMED:
        return f"task {name} has arguments that it does not accept"
    if not all(isinstance(value, str) and SAFE_ARGUMENT.fullmatch(value) for value in values):
        return f"task {name} has arguments that are not plain names"
    if follow_ups:
        return f"task {name} has {_shown(follow_ups[0])}, tasks to run after it"
    return ""


def _reject(queue: Any, problem: str) -> None:
    _log.warning("message on queue %s rejected: %s", _shown(queue), problem)


def _shown(value: Any) -> str:
    """At most 64 characters of a value, on one line."""
    text = repr(value)
    return text if len(text) <= 64 else text[:60] + "...'"
