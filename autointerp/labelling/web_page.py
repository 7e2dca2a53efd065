"""Serves one rater's sheet to a browser on this machine, and to nobody else.

The server listens on 127.0.0.1 only. Other users of the machine do not know the token in the address. Pages of other sites are kept out
by the token, by the Host header (DNS rebinding), and by the Origin header that a browser sends with every change (cross-site requests).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jinja2 import FileSystemLoader
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route

from autointerp.errors import LedgerFailed
from autointerp.hashing import content_hash
from autointerp.labelling import local_server
from autointerp.labelling.local_server import HEADERS, HOST, NAMES
from autointerp.labelling.sheet import Sheet
from autointerp.report import page
from autointerp.report.escape import script_json

BODY_BYTES = 1024
NUMBER = re.compile(r"[0-9]{1,9}")
"""An item's number in an address."""
TEMPLATES = Path(__file__).parent / "templates"
STYLES = (Path(page.__file__).parent / "templates" / "base.css", TEMPLATES / "label.css")


class Pages:
    """The routes under one token: the page, the rater's labels, each single label, and at the end the agreement with the judge.

    Once the agreement was shown, labels can no longer be changed, because the rater is no longer blind to the judge's grades.
    """

    def __init__(self, sheet: Sheet, token: str, then: str) -> None:
        self.sheet, self.token, self.then = sheet, token, then
        self.closed = False

    def app(self) -> Starlette:
        """The application, for any ASGI server."""
        routes = [
            Route("/{token}/", self.show),
            Route("/{token}/labels", self.labels),
            Route("/{token}/labels/{number}", self.label, methods=["PUT", "DELETE"]),
            Route("/{token}/agreement", self.agreement, methods=["POST"]),
        ]
        trusted = Middleware(TrustedHostMiddleware, allowed_hosts=list(NAMES), www_redirect=False)
        return Starlette(routes=routes, middleware=[trusted], exception_handlers={LedgerFailed: _ledger_failed})

    def show(self, request: Request) -> HTMLResponse:
        """The page itself, with a content security policy that allows only its own style and script."""
        self._admit(request)
        css = "".join(path.read_text("utf-8") for path in STYLES)
        js = (TEMPLATES / "label.js").read_text("utf-8")
        templates = page.environment().overlay(loader=FileSystemLoader(TEMPLATES))
        html = templates.get_template("label.html.j2").render(
            css=Markup(css), js=Markup(js), data=Markup(script_json(self._data())), sheet=self.sheet, then=self.then
        )
        rules = ["default-src 'none'", f"style-src {_hash(css)}", f"script-src {_hash(js)}", "connect-src 'self'"]
        rules += ["img-src data:", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"]
        rules += ["require-trusted-types-for 'script'", "trusted-types 'none'"]
        return HTMLResponse(html, headers=HEADERS | {"Content-Security-Policy": "; ".join(rules)})

    def labels(self, request: Request) -> JSONResponse:
        """All labels of the rater."""
        self._admit(request)
        return self._all_labels()

    async def label(self, request: Request) -> JSONResponse:
        """PUT `{"score": 2}`, or null to skip; DELETE removes the label. Either may be sent twice. The response holds all labels."""
        self._admit(request)
        if not (written := NUMBER.fullmatch(request.path_params["number"])):
            raise HTTPException(404)
        number = int(written[0])
        if self.closed:
            raise HTTPException(409, "the agreement was shown, so labels can no longer be changed")
        try:
            if request.method == "PUT":
                await run_in_threadpool(self.sheet.set, {number: await _score(request)})
            else:
                await run_in_threadpool(self.sheet.undo, number)
        except ValueError as error:
            raise HTTPException(422, str(error)) from None
        return await run_in_threadpool(self._all_labels)

    def agreement(self, request: Request) -> JSONResponse:
        """The agreement with the judge. It closes the labels."""
        self._admit(request)
        agreement = self.sheet.agreement()
        if agreement is None:
            raise HTTPException(409, "the agreement is shown once every item is graded or skipped")
        self.closed = True
        return JSONResponse(asdict(agreement), headers=HEADERS)

    def _admit(self, request: Request) -> None:
        """Raise `HTTPException` unless the request has the token and, if it changes something, comes from the page itself."""
        if not secrets.compare_digest(request.path_params["token"].encode(), self.token.encode()):
            raise HTTPException(404)
        if request.method != "GET" and request.headers.get("origin") != f"http://{request.headers['host']}":
            raise HTTPException(403, "this request did not come from the page")

    def _label_lists(self) -> dict[str, list[Any]]:
        """Score and time of each label, by item number."""
        return {str(number): list(label) for number, label in self.sheet.labels().items()}

    def _all_labels(self) -> JSONResponse:
        return JSONResponse({"labels": self._label_lists(), "closed": self.closed}, headers=HEADERS)

    def _data(self) -> dict[str, Any]:
        """The data that the page's script reads."""
        return {
            "key": content_hash(["labels", self.sheet.run_id, self.sheet.rater])[:16],
            "levels": self.sheet.levels,
            "items": [
                [item.number, item.explanation, item.before, item.marked, item.after] for item in self.sheet.items
            ],
            "labels": self._label_lists(),
            "closed": self.closed,
        }


async def _score(request: Request) -> int | None:
    """The grade in a request's body, None for a skipped item. Raises ValueError, or `HTTPException` if the body is too large."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES:
            raise HTTPException(413)
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or set(content) != {"score"} or type(content["score"]) not in (int, type(None)):
        raise ValueError('send {"score": a grade or null}')
    return None if content["score"] is None else int(content["score"])


def _ledger_failed(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": str(error)}, 503, headers=HEADERS)


def serve(sheet: Sheet, *, port: int | None, open_browser: bool, then: str, say: Callable[[str], None]) -> None:
    """Serve a sheet until Ctrl-C. `then` is the command to run afterwards. Raises `UsageError` if the port is taken."""
    token = secrets.token_urlsafe(24)
    listening = local_server.listen(port, [sheet.run_id, sheet.rater])
    address = f"http://{HOST}:{listening.getsockname()[1]}/{token}/"
    say(address)
    pages = Pages(sheet, token, then)
    with closing(listening), TemporaryDirectory(prefix="autointerp-label-") as folder, suppress(KeyboardInterrupt):
        if open_browser:
            local_server.open_page(Path(folder), address)
        local_server.Server(local_server.settings(pages.app())).run(sockets=[listening])


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"
