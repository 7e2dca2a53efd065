"""Requests to the explorer as its own pages send them."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen


def send(url: str, path: str, body: Any = None, method: str = "POST", origin: str | None = None) -> tuple[int, Any]:
    """Status and JSON (or text) of a change; `origin` is by default the explorer's own."""
    headers = {"Origin": url if origin is None else origin, "Content-Type": "application/json"}
    return _answer(Request(f"{url}{path}", json.dumps(body).encode(), headers, method=method))


def get(url: str, path: str) -> tuple[int, Any]:
    """Status and JSON (or text) at a path."""
    return _answer(Request(f"{url}{path}"))


def finished(url: str, begun: Any) -> dict[str, Any]:
    """A request to explain or grade, once it has ended."""
    task = dict(begun)
    while task["state"] in ("waiting", "running"):
        time.sleep(0.05)
        task = get(url, f"/api/tasks/{task['task_id']}")[1]
    return task


def _answer(request: Request) -> tuple[int, Any]:
    try:
        with urlopen(request, timeout=60) as answer:
            status, text = answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            status, text = error.code, error.read().decode()
    try:
        return status, json.loads(text)
    except ValueError:
        return status, text
