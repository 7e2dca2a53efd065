"""Lists of units: the page, their data, and their files."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from autointerp.errors import UsageError
from autointerp.explorer.search.reader import Reader
from autointerp.explorer.web import own
from autointerp.explorer.web.site import answer, ledger_to_write, reader, render
from autointerp.formatting import as_text_cell
from autointerp.ledger.own import lists, notes
from autointerp.ledger.own.lists import UnitList

COLUMNS = ("unit_id", "explanation", "grade", "note")
"""Of an exported list."""


def routes(prefix: str) -> list[Route]:
    """The page and its data."""
    one = f"{prefix}/api/lists/{{list:int}}"
    return [
        Route(f"{prefix}/lists", page),
        Route(f"{prefix}/api/lists", show_all),
        Route(f"{prefix}/api/lists", own.with_body(make), methods=["POST"]),
        Route(one, show),
        Route(one, own.with_body(change), methods=["PUT"]),
        Route(one, delete, methods=["DELETE"]),
        Route(f"{one}/units.csv", as_csv),
        Route(f"{one}/units.json", as_json),
    ]


def page(request: Request) -> HTMLResponse:
    """The page, which fetches the lists."""
    return render(request, "lists.html.j2", about=reader(request).about, own=own.access(request))


def show_all(request: Request) -> JSONResponse:
    """All lists of the dictionary by name, and the number of units with a note; with `?unit=ID` each says whether it has the unit."""
    unit_id = request.query_params.get("unit")
    found: list[UnitList] = own.read(request, lists.all_lists, [])
    members: set[int] = set()
    if unit_id and reader(request).columns.row_of(unit_id) is not None:
        members = own.read(request, lambda tx, _: lists.with_unit(tx, unit_id), members)
    shown = [_shown(each) | ({"has": each.list_id in members} if unit_id else {}) for each in found]
    return answer({"lists": shown, "noted": len(own.read(request, notes.noted, own.NO_UNITS))})


def make(request: Request, given: own.Body) -> JSONResponse:
    """Make a list named `name` of `unit_ids`, which may be none."""
    index = reader(request)
    name, unit_ids = own.text_in(given, "name"), own.units_in(index, given, "unit_ids")
    key = index.about.dictionary.key
    with ledger_to_write(request).write() as tx:
        return answer(_shown(lists.get(tx, key, lists.make(tx, key, name, unit_ids))), 201)


def show(request: Request) -> JSONResponse:
    """A list with its units in their order, each with its explanation, grade and note."""
    found, units = _read(request)
    return answer(_shown(found) | {"units": units})


def change(request: Request, given: own.Body) -> JSONResponse:
    """Give a list another `name`, other `unit_ids`, units to `add` at its end or to `remove`, or undo its deletion (`deleted: false`)."""
    index = reader(request)
    unknown = set(given) - {"name", "unit_ids", "add", "remove", "deleted"}
    if unknown or not given or given.get("deleted", False) is not False:
        raise UsageError("give name, unit_ids, add, remove or deleted: false")
    key, list_id = index.about.dictionary.key, request.path_params["list"]
    with ledger_to_write(request).write() as tx:
        lists.get(tx, key, list_id)
        if "deleted" in given:
            lists.restore(tx, key, list_id)
        if "name" in given:
            lists.rename(tx, key, list_id, own.text_in(given, "name"))
        if "unit_ids" in given:
            lists.put(tx, list_id, own.units_in(index, given, "unit_ids"))
        if "add" in given or "remove" in given:
            removed = given.get("remove", [])
            if not isinstance(removed, list) or not all(isinstance(unit, str) for unit in removed):
                raise UsageError("remove is no list of unit ids: give one")
            lists.change(tx, list_id, own.units_in(index, given, "add"), removed)
        return answer(_shown(lists.get(tx, key, list_id)))


def delete(request: Request) -> JSONResponse:
    """Delete a list. A change with `deleted: false` undoes it."""
    key, list_id = reader(request).about.dictionary.key, request.path_params["list"]
    with ledger_to_write(request).write() as tx:
        lists.get(tx, key, list_id)
        lists.delete(tx, list_id)
        return answer(_shown(lists.get(tx, key, list_id)))


def as_csv(request: Request) -> Response:
    """The units of a list as a file for a spreadsheet, in which no cell is a formula."""
    _, units = _read(request)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows([as_text_cell(unit[name]) for name in COLUMNS] for unit in units)
    return _file(request, text.getvalue(), "text/csv", "csv")


def as_json(request: Request) -> Response:
    """The units of a list as JSON."""
    found, units = _read(request)
    value = {"name": found.name, "dictionary": reader(request).about.dictionary.model_dump(), "units": units}
    return _file(request, json.dumps(value, ensure_ascii=False, indent=1), "application/json", "json")


def _file(request: Request, text: str, kind: str, ending: str) -> Response:
    name = f"list-{request.path_params['list']}.{ending}"
    return Response(text, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})


def _read(request: Request) -> tuple[UnitList, list[dict[str, Any]]]:
    """A list, and what is known of its units."""
    index, list_id = reader(request), request.path_params["list"]

    def look(tx: Connection, key: str) -> tuple[UnitList, list[str], dict[str, str]]:
        found, unit_ids = lists.get(tx, key, list_id), lists.units(tx, list_id)
        return found, unit_ids, notes.texts(tx, key, unit_ids)

    read = own.read(request, look, None)
    if read is None:
        raise UsageError(f"there is no list {list_id}: no list has been made yet")
    found, unit_ids, texts = read
    return found, [_unit(index, unit_id, row, texts) for unit_id, row in _placed(index, unit_ids)]


def _placed(index: Reader, unit_ids: list[str]) -> list[tuple[str, int]]:
    return list(zip(unit_ids, own.rows_of(index, unit_ids).tolist(), strict=True))


def _unit(index: Reader, unit_id: str, row: int, texts: dict[str, str]) -> dict[str, Any]:
    """A unit of a list. One that this index of the dictionary lacks, such as a neuron, has its id and note alone."""
    known = index.name(row) if row >= 0 else {"explanation": None, "grade": None}
    return {
        "unit_id": unit_id,
        "explanation": known["explanation"],
        "grade": known["grade"],
        "note": texts.get(unit_id),
    }


def _shown(found: UnitList) -> dict[str, Any]:
    return asdict(found)
