"""Logging of the service: JSON lines on stderr, or text on a terminal, with the current run and job.

Prompts and replies are logged at `debug` only. So are messages below a warning from SDKs and HTTP clients, which may quote
them, and Celery's messages about each task. Anything that looks like a key or a password is replaced in the finished line.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from contextlib import AbstractContextManager
from typing import Any

import structlog

from autointerp import redaction
from autointerp.settings import Settings

NOISY_LOGGERS = (
    "anthropic",
    "openai",
    "httpx",
    "httpx2",
    "httpcore",
    "httpcore2",
    "urllib3",
    "botocore",
    "aiobotocore",
    "s3fs",
    "fsspec",
    "alembic",
    "filelock",
    "asyncio",
    "celery.beat",
    "celery.worker.strategy",
    "celery.app.trace",
)
"""Loggers that may quote requests or repeat themselves every few seconds. Below a warning they are shown at `debug` only."""


def configure(settings: Settings, *, worker: str = "") -> None:
    """Send all logging of this process, by structlog and the standard library, to stderr. May be called again."""
    redaction.learn()
    level = getattr(logging, settings.log_level.upper())
    json_lines = settings.log == "json" or (settings.log is None and not sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        *([_constant("worker", worker)] if worker else []),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    render = [structlog.processors.format_exc_info, _json] if json_lines else [_text]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render, _hide],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in NOISY_LOGGERS:
        logging.getLogger(name).setLevel(level if level <= logging.DEBUG else max(level, logging.WARNING))


def bind(**keys: str) -> AbstractContextManager[None]:
    """Add keys to every log line of this thread inside the block: `with bind(run=run_id, job=job_key):`."""
    return structlog.contextvars.bound_contextvars(**keys)


def _hide(_logger: Any, _method: str, event: Any) -> str:
    """The last processor. It works on the finished line, so that no part of it is missed."""
    return redaction.hide(str(event))


def _constant(key: str, value: str) -> Any:
    def add(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.setdefault(key, value)
        return event

    return add


_json = structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
_text = structlog.dev.ConsoleRenderer(colors=False)
