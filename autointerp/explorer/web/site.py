"""What the pages share: templates, the index that an address names, and answers as JSON."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from autointerp.errors import UsageError
from autointerp.explorer.search.reader import Reader
from autointerp.explorer.web.guard import PUBLISHED_POLICY
from autointerp.explorer.web.known_ledger import KnownLedger
from autointerp.explorer.web.library import Library
from autointerp.ledger.database import Ledger

_HERE = Path(__file__).parent
STATIC = _HERE / "static"
COLOURS = _HERE.parents[1] / "report" / "templates" / "base.css"
"""The report's colours and fonts."""
NAVIGATION = (("search", ""), ("map", "map"), ("try", "try"), ("compare", "compare"), ("lists", "lists"))
"""The pages of an index that every page leads to: the name of each, which is the class of its `body` too, and its address."""
NEED_A_SERVER = ("try",)
"""Pages that a published folder lacks."""
WITH_NOTES = ("lists",)
"""Pages that a published folder has if it has its reader's notes and lists."""
PREFIXES = ("", "/runs/{run}")
"""Where the pages of an index are: those of the main one at the root, those of a run's under its id."""
MOST_ROWS = 200
"""Most rows of one answer."""


@dataclass(frozen=True)
class Snapshot:
    """A published folder: the pages are files that lead to each other by relative addresses, and no server answers them."""

    version: str
    """Of autointerp."""
    date: str
    """The day on which the data was last changed."""
    stamp: str = ""
    """Changes with the data, so that no page reads files of another publication from a cache."""
    notes: bool = False
    """Whether it has its reader's notes and lists."""
    judgements: bool = False
    """Whether it has the judgements of its runs."""
    main: str | None = None
    """The run whose index has its pages at the root."""
    runs: tuple[str, ...] = ()
    """The runs that have a page."""
    judged: tuple[str, ...] = ()
    """Those of them that have judgements."""

    @property
    def needing_a_server(self) -> str:
        """What the explorer has beyond the published pages."""
        lacking = ["trying texts", "new explanations"]
        lacking += [] if self.notes else ["notes"]
        lacking += [] if self.judgements else ["judgements"]
        return f"{', '.join(lacking[:-1])} and {lacking[-1]}".capitalize()

    @property
    def pages(self) -> list[tuple[str, str]]:
        """The pages of an index that are published, as in `NAVIGATION`."""
        lacking = NEED_A_SERVER if self.notes else NEED_A_SERVER + WITH_NOTES
        return [page for page in NAVIGATION if page[0] not in lacking]


@dataclass(frozen=True)
class Addresses:
    """Where a page finds the others: `root` is above everything, `base` above the pages of one index."""

    root: str
    base: str
    suffix: str = ""

    @classmethod
    def of(cls, run: str | None, snapshot: Snapshot | None) -> Addresses:
        """The addresses on a page of the index of a run, or of the main one for None."""
        if snapshot is None:
            return cls("/", f"/runs/{run}/" if run else "/")
        root = "../../" if run else "./"
        return cls(root, root if run == snapshot.main else "./", ".html")

    def page(self, address: str) -> str:
        """A page of the index."""
        return self.base + (f"{address or 'index'}{self.suffix}" if self.suffix else address)

    @property
    def runs(self) -> str:
        """The list of runs."""
        return f"{self.root}runs{self.suffix}"

    def of_run(self, run: str, page: str) -> str:
        """A page of a run."""
        return f"{self.root}runs/{quote(run)}/{page}{self.suffix}"


def library(request: Request) -> Library:
    """The open indexes."""
    found: Library = request.app.state.library
    return found


def reader(request: Request) -> Reader:
    """The index that the address of a request names. Raises `UsageError` if there is none."""
    return library(request).reader(request.path_params.get("run"))


def snapshot(request: Request) -> Snapshot | None:
    """What is published, or None if a server answers."""
    found: Snapshot | None = request.app.state.snapshot
    return found


def render(request: Request, template: str, **values: Any) -> HTMLResponse:
    """A page from a template, with `at`, the addresses of the others."""
    return _page(request, request.path_params.get("run"), template, values)


def problem(request: Request, message: str, status: int) -> Response:
    """What is wrong with a request: a page, or JSON for a request for data."""
    if "/api/" in request.url.path:
        return JSONResponse({"error": message}, status)
    return _page(request, None, "problem.html.j2", {"about": None, "message": message}, status)


def _page(request: Request, run: str | None, template: str, values: dict[str, Any], status: int = 200) -> HTMLResponse:
    has_index = library(request).has_index(run) if run else library(request).main is not None
    published = snapshot(request)
    index = library(request).reader(run) if values["about"] else None
    known = {
        "baselines": index.baselines if index else [],
        "at": Addresses.of(run, published),
        "published": published,
        "has_index": has_index,
        "pages": (published.pages if published else NAVIGATION) if has_index else [],
        "policy": PUBLISHED_POLICY,
    }
    return HTMLResponse(_environment().get_template(template).render(**known | values), status)


def answer(value: Any, status: int = 200) -> JSONResponse:
    """A value as JSON, in which numbers that JSON does not have are null."""
    return JSONResponse(_finite(value), status)


def whole_number(request: Request, name: str, default: int, digits: int = 9) -> int:
    """A number of at most so many digits in the address of a request. Raises `UsageError` for another text."""
    written = request.query_params.get(name, str(default))
    if not (written.isdecimal() and len(written) <= digits):
        raise UsageError(f"{name}={written[:40]!r} is no whole number: give one")
    return int(written)


def asked_rows(request: Request) -> slice:
    """The places of the rows that a request asks for: `limit` of them, `MOST_ROWS` at most, from place `from` on."""
    first = whole_number(request, "from", 0)
    return slice(first, first + min(MOST_ROWS, whole_number(request, "limit", 100)))


def within(n: int, place: int | None, id_at: Callable[[int], str]) -> dict[str, Any]:
    """What a page says of the search that led to it: the place of what it shows among the `n` that were found, from 0 and None if it is
    none of them, and the ids at the places before and after it."""
    before, after = (-1, 0) if place is None else (place - 1, place + 1)
    return {
        "n": n,
        "place": place,
        "previous": id_at(before) if before >= 0 else None,
        "next": id_at(after) if after < n else None,
    }


def known_ledger(request: Request) -> Ledger | None:
    """The ledger of the results folder, if there is one."""
    known: KnownLedger = request.app.state.ledger
    return known()


def ledger_to_write(request: Request) -> Ledger:
    """The ledger, which is made if there is none. Raises `UsageError` if it cannot be."""
    known: KnownLedger = request.app.state.ledger
    return known.to_write()


def large(request: Request, body: bytes) -> Response:
    """JSON that seldom changes, which a browser that has it already is not sent again."""
    tag = f'"{blake2b(body, digest_size=16).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@cache
def _environment() -> Environment:
    """The environment of the templates. Everything printed is escaped; an unknown name is an error."""
    return Environment(
        loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
