"""The questions of a run and the judge's replies: the list with its search, and each item with what the judge saw."""

from __future__ import annotations

from typing import Any

import numpy as np
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route

from autointerp.errors import UsageError
from autointerp.explorer.items import detail, listing, names
from autointerp.explorer.items.detail import Place
from autointerp.explorer.items.listing import Listing, Listings
from autointerp.explorer.items.query import Query
from autointerp.explorer.web.site import answer, asked_rows, library, render, within
from autointerp.spec.providers import is_baseline
from autointerp.spec.spec import load


def routes() -> list[Route]:
    """The pages and their data. Their addresses are beside the pages of the run's index."""
    return [
        Route("/runs/{run}/calls", show_list),
        Route("/runs/{run}/calls/{item}", show_item),
        Route("/runs/{run}/api/calls", rows),
        Route("/runs/{run}/api/calls/{item}", item),
        Route("/runs/{run}/api/calls/{item}/rebuilt", rebuilt),
    ]


def show_list(request: Request) -> HTMLResponse:
    """The list, which fetches its rows."""
    values = {"states": names.STATES, "arms": names.ARMS, "baselines": _baselines(request)}
    return render(request, "calls.html.j2", about=None, run=_run(request), **values)


def show_item(request: Request) -> HTMLResponse:
    """An item, which is fetched."""
    return render(request, "call.html.j2", about=None, run=_run(request), item=request.path_params["item"])


def rows(request: Request) -> JSONResponse:
    """The number of items that a search finds, and `limit` of them from place `from` on; `read` of `to_read` calls were searched so far."""
    found_in, query = _listing(request), Query.of_address(request.query_params)
    found, (read, to_read) = found_in.find(query)
    frame = found_in.frame(query.of)
    some = frame.iloc[found[asked_rows(request)]].itertuples(index=False)
    return answer(
        {
            "n": len(found), "of": len(frame), "read": read, "to_read": to_read, "facets": found_in.facets(query.of),
            "rows": [listing.card(found_in, query.of, row) for row in some], "has_calls": len(found_in.frames.calls) > 0,
            "missing": found_in.frames.missing, "live": _is_live(request),
        }
    )  # fmt: skip


def item(request: Request) -> JSONResponse:
    """What is stored of an item, and under `within` its place in the search that the address also holds."""
    place = _place(request)
    stored = detail.stored(place, _run(request))
    return answer(stored | {"within": _within(place, Query.of_address(request.query_params))})


def rebuilt(request: Request) -> JSONResponse:
    """The item's question as the program makes it; `why` if parts of the run that this needs are missing."""
    place = _place(request)
    try:
        return answer(detail.rebuilt(place, request.app.state.open_runs.of(_run(request))))
    except UsageError as error:
        return answer({"prompt": None, "why": str(error)})


def _within(place: Place, query: Query) -> dict[str, Any]:
    found, _ = place.listing.find(query)
    ids = place.listing.frame(query.of)["id"]
    places = np.flatnonzero((ids.iloc[found] == place.row.id).to_numpy())
    return within(len(found), int(places[0]) if len(places) else None, lambda at: str(ids.iloc[found[at]]))


def _place(request: Request) -> Place:
    name = request.path_params["item"]
    found = Place.find(_listing(request), name) or Place.find(_listing(request, newest=True), name)
    if found is None:
        raise HTTPException(404, f"the run has no item {name[:80]!r}: it may have been withdrawn and asked again")
    return found


def _baselines(request: Request) -> list[str]:
    """Those judges of the run that are not language models, as far as its spec is there."""
    try:
        spec = load(library(request).folder_of(request.path_params["run"]) / "spec.toml")
    except UsageError:
        return []
    return sorted({judge.model for judge in spec.judges if is_baseline(judge.model)})


def _listing(request: Request, *, newest: bool = False) -> Listing:
    listings: Listings = request.app.state.listings
    return listings.of(library(request).folder_of(request.path_params["run"]), newest=newest)


def _is_live(request: Request) -> bool:
    return bool(request.app.state.listings.is_live(_run(request)))


def _run(request: Request) -> str:
    return library(request).folder_of(request.path_params["run"]).name
