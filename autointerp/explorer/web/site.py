"""What the pages share: templates, the index that an address names, and answers as JSON."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from autointerp.explorer.search.reader import Reader
from autointerp.explorer.web.library import Library

_HERE = Path(__file__).parent
STATIC = _HERE / "static"
COLOURS = _HERE.parents[1] / "report" / "templates" / "base.css"
"""The report's colours and fonts."""
NAVIGATION = (("search", ""), ("try", "try"))
"""The pages of an index that every page leads to: the name of each, which is the class of its `body` too, and its address."""
PREFIXES = ("", "/runs/{run}")
"""Where the pages of an index are: those of the main one at the root, those of a run's under its id."""


def library(request: Request) -> Library:
    """The open indexes."""
    found: Library = request.app.state.library
    return found


def reader(request: Request) -> Reader:
    """The index that the address of a request names. Raises `UsageError` if there is none."""
    return library(request).reader(request.path_params.get("run"))


def render(request: Request, template: str, **values: Any) -> HTMLResponse:
    """A page from a template, with `base`, the address below which the pages of its index are."""
    return _page(request, request.path_params.get("run"), template, values)


def problem(request: Request, message: str, status: int) -> Response:
    """What is wrong with a request: a page, or JSON for a request for data."""
    if "/api/" in request.url.path:
        return JSONResponse({"error": message}, status)
    return _page(request, None, "problem.html.j2", {"about": None, "message": message}, status)


def _page(request: Request, run: str | None, template: str, values: dict[str, Any], status: int = 200) -> HTMLResponse:
    has_index = run is not None or library(request).main is not None
    known = {
        "base": f"/runs/{run}/" if run else "/",
        "has_index": has_index,
        "pages": NAVIGATION if has_index else (),
    }
    return HTMLResponse(_environment().get_template(template).render(**known, **values), status)


def answer(value: Any) -> JSONResponse:
    """A value as JSON, in which numbers that JSON does not have are null."""
    return JSONResponse(_finite(value))


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
