"""Log lines of the service: one JSON object a line on stderr, or text on a terminal, with the run and the job at hand.

Prompts and replies are logged at `debug` only, and so is everything that SDKs and HTTP clients say below a warning, which may
quote them, and what Celery says of each message. What looks like a key or a password is blotted out of the finished line, wherever in it that stands.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import MutableMapping
from contextlib import AbstractContextManager
from typing import Any

import structlog

from autointerp.settings import Settings

TALKATIVE = (
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
"""Loggers that may quote what is sent, or say the same every few seconds: below a warning they are heard at `debug` only."""
BLOT = "[hidden]"
_KEYS = re.compile(
    r"\b(?:(?:sk|pk|rk|hf|ghp|gho|glpat|xox[abp])[-_]|AIza|AKIA|ASIA)[A-Za-z0-9_\-]{12,}"
    r"|(?i:\bbearer|\bx-api-key\W{1,6}|\bapi[-_ ]?key\W{1,6}|\bpassword\W{1,6})\s*(?!\[hidden\])[A-Za-z0-9_\-.~+/=]{6,}"
    r"|(?<=://)[^\s/@\"']*:[^\s/@\"']+(?=@)"
)
_SECRET_NAME = re.compile(r"(API_KEY|AUTH_TOKEN|_TOKEN|SECRET|PASSWORD)$")


def configure(settings: Settings, *, worker: str = "") -> None:
    """Send all of this process's logging, structlog's and the standard library's, to stderr. May be called again."""
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
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render, _Redact()],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(level if level <= logging.DEBUG else max(level, logging.WARNING))


def bind(**keys: str) -> AbstractContextManager[None]:
    """While the block lasts, every line of this thread carries the keys: `with bind(run=run_id, job=job_key):`."""
    return structlog.contextvars.bound_contextvars(**keys)


def redact(text: str) -> str:
    """The text without what looks like a key or a password, and without the values of this process's own."""
    return _Redact()(None, "", text)


class _Redact:
    """The last processor: works on the finished line, so that no corner of it is missed."""

    def __init__(self) -> None:
        values = [value for name, value in os.environ.items() if _SECRET_NAME.search(name) and len(value) >= 8]
        spelled = {form for value in values for form in (value, json.dumps(value)[1:-1])}
        self._own = re.compile("|".join(map(re.escape, sorted(spelled, key=len, reverse=True)))) if spelled else None

    def __call__(self, _logger: Any, _method: str, event: Any) -> str:
        line = str(event)
        return _KEYS.sub(BLOT, self._own.sub(BLOT, line) if self._own else line)


def _constant(key: str, value: str) -> Any:
    def add(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.setdefault(key, value)
        return event

    return add


_json = structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
_text = structlog.dev.ConsoleRenderer(colors=False)
