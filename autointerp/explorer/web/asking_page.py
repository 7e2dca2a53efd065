"""Explanations and grades that are asked for on a unit's page: the price, the request, and what becomes of it."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from autointerp.errors import UsageError
from autointerp.explorer.search.reader import Reader
from autointerp.explorer.web.desk import Desk, Kind
from autointerp.explorer.web.site import answer, ledger_to_write, reader
from autointerp.explorer.web.unit_page import row_of


def routes(prefix: str) -> list[Route]:
    """The data; the buttons are on the unit's page."""
    return [
        Route(f"{prefix}/api/units/{{unit}}/price", price),
        Route(f"{prefix}/api/units/{{unit}}/explain", explain, methods=["POST"]),
        Route(f"{prefix}/api/units/{{unit}}/grade", grade, methods=["POST"]),
        Route(f"{prefix}/api/tasks/{{task:int}}", task),
    ]


def price(request: Request) -> JSONResponse:
    """What explaining a unit costs, or grading its leading explanation: `?of=explain` or `?of=grade`. 422 if it cannot be asked for."""
    of = request.query_params.get("of", "")
    if of not in ("explain", "grade"):
        raise UsageError(f"of={of[:40]!r} is neither explain nor grade: give one")
    kind: Kind = "grade" if of == "grade" else "explain"
    if request.app.state.read_only:
        raise UsageError("the explorer was started with --read-only: nothing can be asked")
    index, row = _asked(request)
    return answer(_desk(request).price(index, row, kind, ledger_to_write(request)))


def explain(request: Request) -> JSONResponse:
    """Begin to explain a unit."""
    return _begin(request, "explain")


def grade(request: Request) -> JSONResponse:
    """Begin to grade a unit's leading explanation."""
    return _begin(request, "grade")


def task(request: Request) -> JSONResponse:
    """A request's state: waiting, running, done, or failed with the error. 404 for one that is not remembered."""
    found = _desk(request).task(request.path_params["task"])
    if found is None:
        raise HTTPException(404, "this request is not remembered: ask again")
    return answer(found.shown())


def _begin(request: Request, kind: Kind) -> JSONResponse:
    index, row = _asked(request)
    return answer(_desk(request).begin(index, row, kind, ledger_to_write(request)).shown(), 202)


def _asked(request: Request) -> tuple[Reader, int]:
    """The index and the row of the unit that is asked about. Raises `UsageError` if the index has no judge."""
    index = reader(request)
    if why := _desk(request).why_not(index):
        raise UsageError(why)
    return index, row_of(index, request)


def _desk(request: Request) -> Desk:
    found: Desk = request.app.state.desk
    return found
