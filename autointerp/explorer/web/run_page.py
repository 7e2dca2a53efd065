"""One run: its state, cost and events, live."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route

from autointerp.explorer.overview.one_run import RunStates
from autointerp.explorer.web.site import answer, library, render, snapshot, whole_number


def routes() -> list[Route]:
    """The page and its data. Its address is beside the pages of the run's index."""
    return [
        Route("/runs/{run}/about", show),
        Route("/runs/{run}/api/about", data),
        Route("/runs/{run}/api/events", events),
    ]


def show(request: Request) -> HTMLResponse:
    """The page, which fetches the state again while the run is live. 422 for an unknown run."""
    folder = library(request).folder_of(request.path_params["run"])
    if not snapshot(request):
        request.app.state.listings.begin(folder)  # the list of judgements is one click away
    return render(request, "run.html.j2", about=None, run=folder.name)


def data(request: Request) -> JSONResponse:
    """The state of the run. 422 for an unknown one."""
    return answer(_states(request).of(library(request).folder_of(request.path_params["run"]).name))


def events(request: Request) -> JSONResponse:
    """The run's events after event `after`."""
    run, after = (
        library(request).folder_of(request.path_params["run"]).name,
        whole_number(request, "after", 0, digits=15),
    )
    return answer(_states(request).events(run, after))


def _states(request: Request) -> RunStates:
    states: RunStates = request.app.state.run_states
    return states
