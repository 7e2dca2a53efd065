"""The runs of the results folder: the page, their state as data, and the files of each run."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse
from starlette.routing import Route

from autointerp.explorer.overview import service
from autointerp.explorer.web.library import Library
from autointerp.explorer.web.site import answer, known_ledger, library, render
from autointerp.ledger import jobs, runs
from autointerp.ledger.database import Ledger
from autointerp.monitoring import run_list, run_names
from autointerp.monitoring.input_names import InputNames
from autointerp.monitoring.run_status import count_ended, current_stage
from autointerp.redaction import hide
from autointerp.spec.providers import is_baseline

REPORT = "report.html"
SANDBOX = "sandbox allow-scripts allow-downloads allow-popups; frame-ancestors 'none'"
"""The policy of a run's files beside their own: a report runs its script, but cannot ask the explorer for anything."""


def routes() -> list[Route]:
    """The page, its data, and a run's files."""
    return [Route("/runs", show), Route("/api/runs", data), Route("/runs/{run}/{file}", file)]


def show(request: Request) -> HTMLResponse:
    """The page, which fetches the runs again while one is live."""
    return render(request, "runs.html.j2", about=None, results=str(library(request).results))


def data(request: Request) -> JSONResponse:
    """All runs, newest first: those of the ledger, then the folders of finished runs that it does not know; with workers, night and month."""
    books, ledger = library(request), known_ledger(request)
    rows = _from_ledger(books, ledger) if ledger else []
    known = {row["run_id"] for row in rows}
    alone = [run for run in run_names.finished(books.results) if run not in known]
    rows += [_row(books, {"run_id": run, "reason": ""}, {}) for run in alone]
    return answer({"runs": rows, **service.read(ledger, books.results)})


def file(request: Request) -> FileResponse:
    """A file that lies directly in the folder of a run."""
    path = library(request).file(request.path_params["run"], request.path_params["file"])
    if path is None:
        raise HTTPException(404, "the run has no such file")
    return FileResponse(path, headers={"Content-Security-Policy": SANDBOX})


def _from_ledger(books: Library, ledger: Ledger) -> list[dict[str, Any]]:
    with ledger.read() as tx:
        rows = [dict(row) for row in runs.all_runs(tx)]
        stages = {row["run_id"]: jobs.counts(tx, row["run_id"]) for row in rows if row["state"] in runs.LIVE}
    return [_row(books, row, stages.get(row["run_id"], {})) for row in rows]


def _row(books: Library, row: Mapping[str, Any], stages: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """A run as the page shows it. Without a row of the ledger only its folder is known."""
    names = InputNames.of(row["spec"]).short if "spec" in row else ("", "", "")
    ended = sum(count_ended(states) for states in stages.values())
    return {
        "run_id": row["run_id"],
        "state": row.get("state", "done"),
        "live": row.get("state") in runs.LIVE,
        "carrier": row.get("carrier", ""),
        "created_at": row.get("created_at"),
        "updated_at": row.get("updated_at"),
        "spent_usd": row.get("spent_usd"),
        **dict(zip(("judge", "subject", "dictionary"), names, strict=True)),
        "baseline": is_baseline(names[0]),
        "verdict": hide(_outcome(books, row)),
        "stage": current_stage(stages),
        "ended": ended,
        "jobs": sum(sum(states.values()) for states in stages.values()),
        "report": books.file(row["run_id"], REPORT) is not None,
        "index": books.has_index(row["run_id"]),
    }


def _outcome(books: Library, row: Mapping[str, Any]) -> str:
    """Why a run stopped, or its headline. A summary is read again when it has changed."""
    if row["reason"]:
        return str(row["reason"])
    path = books.results / row["run_id"] / "summary.json"
    return _headline(books.results, row["run_id"], path.stat().st_mtime) if path.is_file() else ""


@lru_cache(maxsize=2_000)
def _headline(results: Path, run_id: str, changed_at: float) -> str:
    with suppress(KeyError, TypeError, ValueError):  # a summary of another version
        return run_list.outcome(results, {"run_id": run_id, "reason": ""})
    return ""
