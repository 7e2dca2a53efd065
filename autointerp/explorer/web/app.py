"""The explorer as an application for any ASGI server."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from autointerp.errors import LedgerFailed, UsageError
from autointerp.explorer.live.host import LiveHost
from autointerp.explorer.live.process import ModelFailed
from autointerp.explorer.live.visitors import Visitors
from autointerp.explorer.web import runs_page, search_page, try_page, unit_page
from autointerp.explorer.web.guard import Access, Guard
from autointerp.explorer.web.library import Library
from autointerp.explorer.web.model import Firings
from autointerp.explorer.web.site import COLOURS, PREFIXES, STATIC, problem
from autointerp.ledger.database import Ledger

PAGES = (search_page, unit_page, try_page)
"""The pages of an index, each a module whose `routes(prefix)` are its addresses."""
_NOT_STORED = {"Cache-Control": "no-cache"}


def application(library: Library, access: Access, ledger: Ledger | None = None) -> Starlette:
    """The explorer over the indexes of a library; `ledger` knows its runs, and None if there is no ledger.

    Who serves it closes `state.live` afterwards, which ends the process of the model that is open.
    """
    app = Starlette(
        routes=[
            Route("/static/base.css", _colours),
            Mount("/static", StaticFiles(directory=STATIC)),
            *(route for prefix in PREFIXES for page in PAGES for route in page.routes(prefix)),
            *runs_page.routes(),
        ],
        middleware=[Middleware(Guard, access=access)],
        exception_handlers={UsageError: _wrong, HTTPException: _wrong, LedgerFailed: _away, ModelFailed: _away},
    )
    app.state.library, app.state.ledger = library, ledger
    app.state.live, app.state.visitors, app.state.firings = LiveHost(), Visitors(), Firings()
    return app


def _colours(request: Request) -> FileResponse:
    return FileResponse(COLOURS, headers=_NOT_STORED)


def _wrong(request: Request, error: Exception) -> Response:
    """The answer to a wrong request: a page, or JSON for a request for data."""
    status, message = (error.status_code, error.detail) if isinstance(error, HTTPException) else (422, str(error))
    return problem(request, message, status)


def _away(request: Request, error: Exception) -> Response:
    return problem(request, str(error), 503)
