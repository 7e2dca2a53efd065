"""A reader's notes and lists, as the pages need them: those of the index that an address names."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from autointerp.errors import UsageError
from autointerp.explorer.search.query import Firing, Query
from autointerp.explorer.search.reader import Reader
from autointerp.explorer.web.site import known_ledger, reader
from autointerp.ledger.own import lists, notes
from autointerp.ledger.text_column import storable

T = TypeVar("T")
Body = dict[str, Any]
NO_UNITS: list[str] = []
WRITES, READS, NONE = "write", "read", ""
"""Whether notes and lists can be changed, only read, or are not there at all."""


def access(request: Request) -> str:
    """What a page may do with notes and lists."""
    if not request.app.state.read_only:
        return WRITES
    return READS if known_ledger(request) is not None else NONE


def read(request: Request, look: Callable[[Connection, str], T], none: T) -> T:
    """What `look` finds in the ledger for the dictionary's key; `none` without a ledger."""
    ledger = known_ledger(request)
    if ledger is None:
        return none
    with ledger.read() as tx:
        return look(tx, reader(request).about.dictionary.key)


def found(request: Request, index: Reader, query: Query, firing: Firing | None) -> NDArray[np.int64]:
    """The rows that a query finds, in its order; `firing` are those that fire on its text. A list without another order has its own."""
    plain = replace(query, list_id=None, noted=None)
    rows = index.find(plain, firing)
    if query.list_id is not None:
        list_id = query.list_id
        members = read(request, lambda tx, key: lists.units(tx, lists.get(tx, key, list_id).list_id), NO_UNITS)
        kept = rows_of(index, members)
        rows = kept[kept >= 0] if plain == Query() else rows[np.isin(rows, kept)]
    if query.noted is not None:
        with_note = rows_of(index, read(request, notes.noted, NO_UNITS))
        rows = rows[np.isin(rows, with_note) == query.noted]
    return rows


def rows_of(index: Reader, unit_ids: list[str]) -> NDArray[np.int64]:
    """The row of each unit, and -1 for one that the index lacks."""
    places = pc.index_in(pa.array(unit_ids, pa.string()), value_set=index.columns.unit_ids)
    rows: NDArray[np.int64] = pc.fill_null(places, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return rows


def with_body(handle: Callable[[Request, Body], Response]) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that gets the JSON object which a request brings, in a thread, because the ledger may be busy."""

    async def endpoint(request: Request) -> Response:
        try:
            value = json.loads(await request.body())
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise UsageError("the body of the request is no JSON object")
        return await run_in_threadpool(handle, request, value)

    return endpoint


def text_in(value: Body, name: str) -> str:
    """A text of a body. Raises `UsageError`."""
    text = value.get(name)
    if not isinstance(text, str):
        raise UsageError(f"{name} is no text: give one")
    return storable(text)


def units_in(index: Reader, value: Body, name: str) -> list[str]:
    """The ids of units in a body, none if it has no such field. Raises `UsageError` for one that the index lacks."""
    unit_ids = value.get(name, [])
    if not isinstance(unit_ids, list) or not all(isinstance(unit, str) for unit in unit_ids):
        raise UsageError(f"{name} is no list of unit ids: give one")
    unit_ids = [storable(unit) for unit in unit_ids]
    if len(unit_ids) and (missing := np.flatnonzero(rows_of(index, unit_ids) < 0)).size:
        raise UsageError(f"the index has no unit {unit_ids[int(missing[0])][:80]!r}: leave it out")
    return unit_ids
