"""Asks the model of the index that an address names, and leaves off when the visitor has gone."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Coroutine
from contextlib import aclosing, suppress
from typing import Any, TypeVar

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request

from autointerp.errors import UsageError
from autointerp.explorer.live import limits
from autointerp.explorer.live.host import JobRefused, LiveHost, source_of
from autointerp.explorer.live.questions import Reading, Source
from autointerp.explorer.live.ranking import firing
from autointerp.explorer.live.visitors import Visitors, address_of
from autointerp.explorer.search.query import Firing, Query
from autointerp.explorer.search.reader import Reader, Rows
from autointerp.explorer.web import own
from autointerp.explorer.web.site import library, reader

T = TypeVar("T")
_GONE = 499
"""The status of an answer that nobody receives, as in nginx."""
_REMEMBERED = 64


class Firings:
    """What was found for the last searches by text."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str, str], Firing] = OrderedDict()

    def get(self, index: Reader, query: Query) -> Firing | None:
        """The units that were found for a query."""
        return self._known.get(_key(index, query))

    def put(self, index: Reader, query: Query, found: Firing) -> None:
        """Remember them."""
        self._known[_key(index, query)] = found
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)


def host(request: Request) -> LiveHost:
    """The model that is open."""
    found: LiveHost = request.app.state.live
    return found


def model_of(request: Request) -> Source:
    """Where the model of the index is named that the address of a request names. Raises `UsageError` if there is no such index, and
    `ModelFailed` if it names none."""
    return source_of(reader(request).folder, library(request).results)


async def part_of(request: Request, question: Reading) -> dict[str, Any]:
    """The answer to a reading. Raises `UsageError` for a text that cannot be read, and `ModelFailed`."""
    try:
        async with aclosing(host(request).ask(model_of(request), question, limits.READ_S)) as parts:
            return await anext(parts)
    except JobRefused as error:
        raise UsageError(str(error)) from None
    except TimeoutError:
        raise HTTPException(
            503, f"the model took longer than {limits.READ_S:.0f} seconds: give a shorter text"
        ) from None


async def find(request: Request, index: Reader, query: Query, *, wait: bool = True) -> Rows:
    """The rows that a query finds. A search by text asks the model unless the answer is known; without `wait` it then finds none.

    Raises `UsageError`, `ModelFailed`, and `HTTPException` if the visitor asks for too much at once.
    """
    found: Firing | None = None
    if query.fires:
        known: Firings = request.app.state.firings
        found = known.get(index, query)
        if found is None and wait:
            visitors: Visitors = request.app.state.visitors
            with visitors.one(address_of(request.scope)):
                texts = [query.fires, *([query.without] if query.without else [])]
                parts = [await part_of(request, Reading(text=text)) for text in texts]
            found = firing(index, parts[0], parts[1] if len(parts) > 1 else None)
            known.put(index, query, found)
        elif found is None:
            return np.zeros(0, dtype=np.int64)
    return await run_in_threadpool(own.found, request, index, query, found)


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when the visitor closes the connection; then raises `HTTPException`."""
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise HTTPException(_GONE, "the visitor has gone")
        return task.result()
    finally:
        for each in (task, gone):
            each.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _key(index: Reader, query: Query) -> tuple[str, str, str]:
    return index.about.identity, query.fires, query.without
