"""The list of units: the page, the rows of a search, and the strongest examples of rows."""

from __future__ import annotations

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route

from autointerp.errors import UsageError
from autointerp.explorer.label_all import outcome
from autointerp.explorer.search.query import Query
from autointerp.explorer.web import own
from autointerp.explorer.web.model import find
from autointerp.explorer.web.site import MOST_ROWS, answer, asked_rows, reader, render


def routes(prefix: str) -> list[Route]:
    """The page and its data."""
    return [
        Route(f"{prefix}/", show),
        Route(f"{prefix}/api/rows", rows),
        Route(f"{prefix}/api/strongest", strongest),
    ]


def show(request: Request) -> HTMLResponse:
    """The page, which fetches its rows."""
    index = reader(request)
    labels = outcome.load(index.folder)
    return render(request, "search.html.j2", about=index.about, own=own.access(request), labels=labels)


async def rows(request: Request) -> JSONResponse:
    """The number of units that a search finds, and `limit` of them from place `from` on."""
    index = reader(request)
    found = await find(request, index, Query.of(request.query_params))
    cards = await run_in_threadpool(index.cards, found[asked_rows(request)])
    return answer({"n": len(found), "of": len(index.columns), "rows": cards})


def strongest(request: Request) -> JSONResponse:
    """The tokens around the mark of the strongest example of each of `rows`, written `3,7,12`; null for a unit without examples."""
    index = reader(request)
    written = request.query_params.get("rows", "").split(",")[:MOST_ROWS]
    if not all(row.isdecimal() and len(row) < 10 for row in written):
        raise UsageError("rows are numbers with commas between them: rows=3,7,12")
    wanted = np.unique([int(row) for row in written])  # in their order, so that each part of the file is read once
    return answer({str(row): index.strongest(int(row)) for row in wanted})
