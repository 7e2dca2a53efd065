"""Admits requests to the explorer, and isolates its responses from pages of other sites.

Other sites are kept out by the Host header (DNS rebinding), by the Origin header that a browser sends with every change (cross-site
requests), and by the headers of each response. On an address that other machines reach, a request also needs the token.
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlencode

from starlette.datastructures import URL, Headers, MutableHeaders, QueryParams
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autointerp.labelling.local_server import HEADERS, NAMES

POLICY = "; ".join(
    [
        "default-src 'none'", "style-src 'self'", "script-src 'self'", "connect-src 'self'", "img-src 'self' data:",
        "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
)  # fmt: skip
"""The content security policy of every response that has none of its own: scripts and styles are files of the explorer alone."""
READING = ("GET", "HEAD")
QUESTIONS = "/api/live/"
"""Part of the addresses at which a model is asked something. They change nothing, so that `--read-only` does not refuse them."""
MOST_BODY = 64 * 1024
"""Largest body of a request, in bytes."""


@dataclass(frozen=True)
class Access:
    """Who may use the explorer: `host` is the address that it listens on; `token` is None if none is asked for."""

    host: str = NAMES[0]
    token: str | None = None
    read_only: bool = False

    def accepts_host(self, header: str) -> bool:
        """Whether a Host header names this server. On an address that other machines reach, each IP address may be one of its own: a page of
        another site cannot have one as its name."""
        name = URL(f"http://{header}").hostname or ""
        if name in (*NAMES, self.host):
            return True
        if is_loopback(self.host):
            return False
        return _is_address(name) or name in (socket.gethostname().lower(), socket.getfqdn().lower())


class Guard:
    """Wraps an application: refuses requests, and adds headers to the responses."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        answer = self._refusal(scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in (HEADERS | {"Content-Security-Policy": POLICY}).items():
                    headers.setdefault(name, value)
            await send(message)

        await (answer or self.app)(scope, _bounded(receive), send_with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        """The response to a request that is not admitted, or that brings the token; None if the application answers."""
        headers = Headers(scope=scope)
        host, method = headers.get("host", ""), scope["method"]
        if not self.access.accepts_host(host):
            return PlainTextResponse("this server has another name: open the address that the command printed", 400)
        if headers.get("sec-fetch-site") == "cross-site" and "/api/" in scope["path"]:
            return PlainTextResponse("this request did not come from a page of the explorer", 403)
        if method not in READING:
            if headers.get("origin") not in (f"http://{host}", f"https://{host}"):
                return PlainTextResponse("this request did not come from a page of the explorer", 403)
            if self.access.read_only and QUESTIONS not in scope["path"]:
                return PlainTextResponse("the explorer was started with --read-only", 403)
            length = headers.get("content-length", "0")
            if not length.isdecimal() or int(length) > MOST_BODY:
                return PlainTextResponse("the body of the request is too large", 413)
        if self.access.token is not None:
            return self._ask_for_token(scope, headers, self.access.token)
        return None

    def _ask_for_token(self, scope: Scope, headers: Headers, token: str) -> Response | None:
        """None if the request has the token in its cookie. In the address it becomes the cookie."""
        name = f"autointerp-explorer-{scope['server'][1]}"
        given = QueryParams(scope["query_string"])
        if _same(given.get("token", ""), token):
            rest = [(key, value) for key, value in given.multi_items() if key != "token"]
            moved = RedirectResponse(scope["path"] + (f"?{urlencode(rest)}" if rest else ""), 303)
            # Lax: a strict cookie is not sent after the redirect that sets it if another page led here.
            moved.set_cookie(name, token, httponly=True, samesite="lax")
            return moved
        if _same(_cookie(headers, name), token):
            return None
        return PlainTextResponse("open the address that the command printed: it has the token", 401)


def _bounded(receive: Receive) -> Receive:
    """The parts of a request's body, of which a route gets at most `MOST_BODY` bytes; more raises `HTTPException`."""
    size = 0

    async def receive_part() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > MOST_BODY:
            raise HTTPException(413, "the body of the request is too large")
        return message

    return receive_part


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host.strip("[]")).is_loopback)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _cookie(headers: Headers, name: str) -> str:
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return ""
    return cookies[name].value if name in cookies else ""


def _same(given: str, token: str) -> bool:
    return secrets.compare_digest(given.encode("utf-8", "replace"), token.encode())
