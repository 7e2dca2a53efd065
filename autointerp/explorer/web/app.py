"""The explorer as an application for any ASGI server."""

from __future__ import annotations

from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from autointerp.errors import LedgerFailed, UsageError
from autointerp.explorer.comparison.opened import Comparisons
from autointerp.explorer.items.listing import Listings
from autointerp.explorer.items.rebuilt import OpenRuns
from autointerp.explorer.labels.allowance import DEFAULT_USD
from autointerp.explorer.live.host import LiveHost
from autointerp.explorer.live.process import ModelFailed
from autointerp.explorer.live.visitors import Visitors
from autointerp.explorer.overview.one_run import RunStates
from autointerp.explorer.web import (
    asking_page,
    calls_page,
    compare_page,
    lists_page,
    map_page,
    notes_page,
    run_page,
    runs_page,
    search_page,
    try_page,
    unit_page,
)
from autointerp.explorer.web.desk import Desk
from autointerp.explorer.web.guard import Access, Guard
from autointerp.explorer.web.known_ledger import KnownLedger
from autointerp.explorer.web.library import Library
from autointerp.explorer.web.model import Firings
from autointerp.explorer.web.site import COLOURS, PREFIXES, STATIC, Snapshot, problem
from autointerp.places import PlaceFailed

PAGES = (search_page, map_page, try_page, compare_page, unit_page, asking_page, notes_page, lists_page)
"""The pages of an index, each a module whose `routes(prefix)` are its addresses."""
_NOT_STORED = {"Cache-Control": "no-cache"}


def application(
    library: Library,
    access: Access,
    ledger: KnownLedger | None = None,
    *,
    usd: float | None = DEFAULT_USD,
    snapshot: Snapshot | None = None,
) -> Starlette:
    """The explorer over the indexes of a library; `ledger` knows its runs, and None is none for ever. `usd` is what explanations and
    grades that are asked for on the pages may cost in all. With a `snapshot`, its pages are those of a published folder. At its end
    `close` it."""
    app = Starlette(
        routes=[
            Route("/static/base.css", _colours),
            Mount("/static", StaticFiles(directory=STATIC)),
            *(route for prefix in PREFIXES for page in PAGES for route in page.routes(prefix)),
            *run_page.routes(),
            *calls_page.routes(),
            *runs_page.routes(),
        ],
        middleware=[Middleware(Guard, access=access)],
        exception_handlers={
            UsageError: _wrong,
            HTTPException: _wrong,
            LedgerFailed: _away,
            PlaceFailed: _away,
            ModelFailed: _away,
        },
    )
    known = ledger or KnownLedger(library.results, None, fixed=True)
    app.state.library, app.state.ledger, app.state.read_only = library, known, access.read_only
    app.state.snapshot = snapshot
    app.state.desk = Desk(library.results, usd)
    app.state.run_states = RunStates(library.results, known)
    app.state.listings, app.state.open_runs = Listings(library.results, known), OpenRuns(library.results, known)
    app.state.comparisons = Comparisons()
    app.state.live, app.state.visitors, app.state.firings = LiveHost(), Visitors(), Firings()
    return app


def close(app: Starlette) -> None:
    """Stop what is asked in the background, end the model that is open, and close the ledger if it was opened for the pages."""
    app.state.desk.close()
    app.state.live.close()
    app.state.ledger.close()


def _colours(request: Request) -> FileResponse:
    return FileResponse(COLOURS, headers=_NOT_STORED)


def _wrong(request: Request, error: Exception) -> Response:
    """The answer to a wrong request: a page, or JSON for a request for data."""
    status, message = (error.status_code, error.detail) if isinstance(error, HTTPException) else (422, str(error))
    if message == HTTPStatus.NOT_FOUND.phrase:
        message = f"there is no page {request.url.path[:200]!r}: check the address"
    return problem(request, message, status)


def _away(request: Request, error: Exception) -> Response:
    return problem(request, str(error), 503)
