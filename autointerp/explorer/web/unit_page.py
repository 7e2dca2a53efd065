"""A unit: the page, and everything about it with its neighbours in a search."""

from __future__ import annotations

from typing import Any

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route

from autointerp.explorer.search.query import Query
from autointerp.explorer.search.reader import Reader, Rows
from autointerp.explorer.web import own
from autointerp.explorer.web.model import find
from autointerp.explorer.web.site import answer, reader, render, snapshot, within


def routes(prefix: str) -> list[Route]:
    """The page and its data."""
    return [Route(f"{prefix}/u/{{unit}}", show), Route(f"{prefix}/api/units/{{unit}}", data)]


def show(request: Request) -> HTMLResponse:
    """The page, which fetches the unit. 404 for an unknown one. A published page takes the unit from its address, and serves all."""
    index = reader(request)
    if not snapshot(request):
        row_of(index, request)
    asks = "" if request.app.state.read_only else request.app.state.desk.why_not(index) or "yes"
    return render(
        request,
        "unit.html.j2",
        about=index.about,
        unit_id=request.path_params["unit"],
        own=own.access(request),
        asks=asks,
    )


async def data(request: Request) -> JSONResponse:
    """A unit, and under `within` its place in the search that the address also holds, with the units before and after it."""
    index = reader(request)
    row = await run_in_threadpool(row_of, index, request)
    found = await find(request, index, Query.of(request.query_params), wait=False)
    unit = await run_in_threadpool(described, index, row)
    return answer({**unit, "within": _within(index, found, row)})


def described(index: Reader, row: int) -> dict[str, Any]:
    """A unit by itself, as the page shows it."""
    about = {name: getattr(index.about, name) for name in ("bins", "top", "per_bin", "n_tokens", "n_neurons")}
    return {**index.unit(row), "about": about}


def _within(index: Reader, found: Rows, row: int) -> dict[str, Any]:
    places = np.flatnonzero(found == row)
    ids = index.columns.unit_ids
    return within(len(found), int(places[0]) if len(places) else None, lambda at: str(ids[int(found[at])].as_py()))


def row_of(index: Reader, request: Request) -> int:
    """The row of the unit that an address names. Raises `HTTPException` for one that the index lacks."""
    row = index.columns.row_of(request.path_params["unit"])
    if row is None:
        raise HTTPException(404, f"the index has no unit {request.path_params['unit'][:80]!r}")
    return row
