"""Asks the explorer for a page or for data without a server."""

from __future__ import annotations

import asyncio
import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette

from autointerp.errors import UsageError

_FOUND = 200


def page(app: Starlette, address: str) -> bytes:
    """The page at an address. Raises `UsageError` if the explorer answers with a problem."""
    status, body = _answer(app, address)
    if status != _FOUND:
        raise UsageError(f"{address} cannot be published: the explorer answers {status}")
    return body


def data(app: Starlette, address: str) -> Any:
    """The JSON at an address. A problem, such as that an index has no map, is JSON too: `{"error": ...}`."""
    return json.loads(_answer(app, address)[1])


def file_of(asked: str) -> str:
    """The file of an address of data, given after `api/`; `static/published.js` finds it by the same rule."""
    return re.sub(r"[^A-Za-z0-9._/-]+", "-", asked) + ".json.gz"


def _answer(app: Starlette, address: str) -> tuple[int, bytes]:
    with ThreadPoolExecutor(1) as thread:  # a loop of its own, also for a caller who is in one
        return thread.submit(lambda: asyncio.run(_ask(app, address))).result()


async def _ask(app: Starlette, address: str) -> tuple[int, bytes]:
    path, _, query = address.partition("?")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": unquote(path), "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
        "headers": [(b"host", b"localhost")], "server": ("localhost", 80), "client": ("localhost", 1),
    }  # fmt: skip
    status, body = 500, []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)
        body.append(message.get("body", b""))

    await app(scope, receive, send)
    return status, b"".join(body)
