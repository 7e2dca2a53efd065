"""The notes about units: one text for each, which is edited on the unit's page."""

from __future__ import annotations

from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from autointerp.errors import UsageError
from autointerp.explorer.web import own
from autointerp.explorer.web.site import answer, ledger_to_write, reader
from autointerp.explorer.web.unit_page import row_of
from autointerp.ledger.own import notes


def routes(prefix: str) -> list[Route]:
    """The data; the editor is on the unit's page."""
    return [
        Route(f"{prefix}/api/notes/{{unit}}", show),
        Route(f"{prefix}/api/notes/{{unit}}", own.with_body(change), methods=["PUT"]),
    ]


def show(request: Request) -> JSONResponse:
    """A unit's note with its version, 0 for one that never was."""
    row_of(reader(request), request)
    unit_id = request.path_params["unit"]
    return answer(asdict(own.read(request, lambda tx, key: notes.note_of(tx, key, unit_id), notes.Note(unit_id))))


def change(request: Request, given: own.Body) -> JSONResponse:
    """Replace a unit's note by `text`, if it still has the `version` that the change is based on; else 409 with the newest one."""
    index = reader(request)
    row_of(index, request)
    unit_id = request.path_params["unit"]
    text, version = own.text_in(given, "text").strip(), given.get("version")
    if not isinstance(version, int) or isinstance(version, bool):
        raise UsageError("version is no whole number: give that of the note that was changed")
    key, ledger = index.about.dictionary.key, ledger_to_write(request)
    try:
        with ledger.write() as tx:
            return answer(asdict(notes.write(tx, key, unit_id, text, version)))
    except notes.Outdated as error:
        with ledger.read() as tx:
            return answer({"error": str(error), "note": asdict(notes.note_of(tx, key, unit_id))}, 409)
