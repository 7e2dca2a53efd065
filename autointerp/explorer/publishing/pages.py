"""The pages of a published folder: those of the explorer, with their scripts, and the data that has one address."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.applications import Starlette

from autointerp.explorer.publishing import answers
from autointerp.explorer.publishing.folder import PublishedFolder
from autointerp.explorer.publishing.packing import packed_json
from autointerp.explorer.publishing.private import Private
from autointerp.explorer.search.places import VALUES
from autointerp.explorer.web.site import COLOURS, STATIC

DATA = ("map", *(f"map/values?column={name}" for name in VALUES))
"""Data of an index with one address each, after `api/`."""
_UNIT = "u/unit"
"""The page of every unit, whichever is named."""
_OF_JUDGEMENTS = {"calls": "calls", "call": "calls/item"}
"""The list of judgements, and the page of every item or call."""


def write_data(folder: PublishedFolder, app: Starlette, live: str, at: str) -> None:
    """Write the data of the index whose pages are below `live`, into files below `at`."""
    for asked in DATA:
        folder.put(f"{at}data/api/{answers.file_of(asked)}", packed_json(answers.data(app, f"{live}api/{asked}")))


def write_pages(folder: PublishedFolder, app: Starlette, live: str, at: str) -> None:
    """Write the pages of an index."""
    for _, address in app.state.snapshot.pages:
        folder.put(f"{at}{address or 'index'}.html", answers.page(app, live + address))
    folder.put(f"{at}unit.html", answers.page(app, live + _UNIT))


def write_lists(folder: PublishedFolder, app: Starlette, live: str, at: str, private: Private) -> None:
    """Write the units of each list of an index as files to download."""
    for each in answers.data(app, f"{live}api/lists")["lists"]:
        for ending in ("csv", "json"):
            text = answers.page(app, f"{live}api/lists/{each['list_id']}/units.{ending}").decode()
            folder.put(f"{at}lists/list-{each['list_id']}.{ending}", private.without(text).encode())


def write_run(folder: PublishedFolder, app: Starlette, run: str, *, with_judgements: bool) -> None:
    """Write the pages of a run."""
    for name, address in ({"about": "about"} | (_OF_JUDGEMENTS if with_judgements else {})).items():
        folder.put(f"runs/{run}/{name}.html", answers.page(app, f"/runs/{run}/{address}"))


def write_shared(folder: PublishedFolder, app: Starlette) -> None:
    """Write the list of runs, scripts and styles."""
    folder.put("runs.html", answers.page(app, "/runs"))
    folder.put("static/base.css", COLOURS.read_bytes())
    for path in sorted(STATIC.rglob("*")):
        if path.is_file():
            folder.put(f"static/{path.relative_to(STATIC).as_posix()}", path.read_bytes())
    folder.put(".nojekyll", b"")  # GitHub Pages passes files on as they are


def write_runs(folder: PublishedFolder, rows: Sequence[dict[str, Any]]) -> None:
    """Write the runs that the list shows."""
    folder.put(
        f"data/api/{answers.file_of('runs')}",
        packed_json({"runs": list(rows), "workers": [], "night": None, "month": None}),
    )
