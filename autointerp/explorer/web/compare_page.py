"""Two indexes side by side: the page, the figures of a comparison, its lists, and a feature's matches in other dictionaries."""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route

from autointerp.errors import UsageError
from autointerp.explorer.comparison.elsewhere import elsewhere
from autointerp.explorer.comparison.figures import facts
from autointerp.explorer.comparison.listing import Request as Wanted
from autointerp.explorer.comparison.opened import Comparisons
from autointerp.explorer.search.reader import Reader
from autointerp.explorer.web.library import INDEX
from autointerp.explorer.web.own import Body, with_body
from autointerp.explorer.web.site import Addresses, answer, asked_rows, library, reader, render
from autointerp.explorer.web.unit_page import row_of
from autointerp.monitoring import run_names


def routes(prefix: str) -> list[Route]:
    """The page and its data."""
    return [
        Route(f"{prefix}/compare", show),
        Route(f"{prefix}/api/compare", data, methods=["GET"]),
        Route(f"{prefix}/api/compare", with_body(compute), methods=["POST"]),
        Route(f"{prefix}/api/compare/rows", rows),
        Route(f"{prefix}/api/elsewhere/{{unit}}", matches_of_unit),
    ]


def show(request: Request) -> HTMLResponse:
    """The page, which fetches the comparison and asks for it if it is not computed."""
    return render(request, "compare.html.j2", about=reader(request).about)


def data(request: Request) -> JSONResponse:
    """The state of the comparison with the run `with` and what is known of it; without `with`, the runs to choose from."""
    own, run = reader(request), request.query_params.get("with")
    if not run:
        return answer({"runs": _choices(request, own)})
    other = _other(request, own, run)
    opened, state = _comparisons(request).of(own, other)
    matching = opened.matching
    return answer(
        {
            **state,
            "sides": [
                facts(own, _run_of(request, own), _base(request.path_params.get("run"))),
                facts(other, run, _base(run)),
            ],
            "relation": matching.relation if matching else None,
            "why": matching.why if matching else None,
            "same_tokens": matching.same_tokens if matching else None,
            "grades": matching.grades.model_dump(exclude={"changed"}) if matching and matching.grades else None,
            "figures": opened.figures,
            "distributions": opened.distributions,
            **(opened.matches or {"found": None, "lengths": None, "texts": None}),
        }
    )


def compute(request: Request, given: Body) -> JSONResponse:
    """Compute the comparison with the run that the body names: `{"with": RUN}`."""
    run = given.get("with")
    if not isinstance(run, str):
        raise UsageError('the body names no run: send {"with": RUN}')
    own = reader(request)
    if not _comparisons(request).ask(own, _other(request, own, run)):
        raise HTTPException(503, "too many comparisons are waiting: try again when one has ended")
    return answer({"state": "waiting"})


def rows(request: Request) -> JSONResponse:
    """The number of entries of a list of the comparison, and `limit` of them from place `from` on."""
    own = reader(request)
    listing = _comparisons(request).listing(own, _other(request, own, request.query_params.get("with", "")))
    found = listing.find(Wanted.of(request.query_params))
    return answer({"n": len(found), "rows": listing.cards(found.take(asked_rows(request)))})


def matches_of_unit(request: Request) -> JSONResponse:
    """A feature's matches in the dictionaries with which its own has been compared."""
    own, books = reader(request), library(request)
    found = elsewhere(own.folder, row_of(own, request), lambda run: books.folder_of(run) / INDEX)
    return answer([{**each, "base": _base(each["run"])} for each in found])


def _comparisons(request: Request) -> Comparisons:
    found: Comparisons = request.app.state.comparisons
    return found


def _choices(request: Request, own: Reader) -> list[dict[str, Any]]:
    """The other finished runs, those with an index first."""
    books, own_run = library(request), _run_of(request, own)
    runs = [run for run in run_names.finished(books.results) if run != own_run]
    choices = [{"run": run, "index": books.has_index(run)} for run in runs]
    return sorted(choices, key=lambda each: not each["index"])


def _other(request: Request, own: Reader, run: str) -> Reader:
    """The index of the run to compare with. Raises `UsageError` if it has none, or if it is the same."""
    books = library(request)
    if not books.has_index(run):
        raise UsageError(f"{run[:80]} has no index to compare with: make it with `autointerp index {run[:80]}`")
    if (books.folder_of(run) / INDEX).resolve() == own.folder.path.resolve():
        raise UsageError(f"{run} cannot be compared with itself: choose another run")
    return books.reader(run)


def _run_of(request: Request, own: Reader) -> str | None:
    """The run in whose folder the own index is; None if it is elsewhere."""
    results, folder = library(request).results.resolve(), own.folder.path.resolve()
    return folder.parent.name if folder.name == INDEX and folder.parent.parent == results else None


def _base(run: str | None) -> str:
    """The address above the pages of the index of a run, or of the main one for None."""
    return Addresses.of(run, None).base
