"""The map of an index: the page, its points and their values, and the rows that a search finds on it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from autointerp.explorer.search.query import Query
from autointerp.explorer.web import own
from autointerp.explorer.web.model import find
from autointerp.explorer.web.site import answer, large, reader, render


def routes(prefix: str) -> list[Route]:
    """The page and its data."""
    return [
        Route(f"{prefix}/map", show),
        Route(f"{prefix}/api/map", points),
        Route(f"{prefix}/api/map/values", values),
        Route(f"{prefix}/api/found", found),
    ]


def show(request: Request) -> HTMLResponse:
    """The page, which fetches its points."""
    return render(request, "map.html.j2", about=reader(request).about, own=own.access(request))


def points(request: Request) -> Response:
    """The place and cluster of every feature, and the clusters."""
    return large(request, reader(request).places.drawn)


def values(request: Request) -> Response:
    """The values of `column` of every feature on the map."""
    return large(request, reader(request).places.values(request.query_params.get("column", "")))


async def found(request: Request) -> JSONResponse:
    """The rows of all features that a search finds, in its order."""
    index = reader(request)
    rows = await find(request, index, Query.of(request.query_params))
    return answer({"rows": rows[rows < index.about.n_features].tolist()})
