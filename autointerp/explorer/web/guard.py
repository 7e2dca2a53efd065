"""Admits requests to the explorer, and isolates its responses from pages of other sites.

Other sites are kept out by the Host header (DNS rebinding), by the Origin header that a browser sends with every change and the
Sec-Fetch-Site header that it sends with every request (cross-site requests), and by the headers of each response. On an address that
other machines reach, a request also needs the token. Headers of a proxy (`Forwarded`, `X-Forwarded-...`) are never read: the address
that visitors use is `Access.public`, which the user names.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
import socket
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlencode

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
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
PUBLISHED_POLICY = POLICY.replace("frame-ancestors 'none'; ", "")
"""The same for pages of a published folder, which can only say it themselves: there, browsers ignore who may frame a page."""
READING = ("GET", "HEAD")
QUESTIONS = "/api/live/"
"""Part of the addresses at which a model is asked something. They change nothing, so that `--read-only` does not refuse them."""
MOST_BODY = 64 * 1024
"""Largest body of a request, in bytes."""
MOST_ADDRESS, MOST_HEADERS = 16 * 1024, 32 * 1024
"""Largest address, and largest headers together, in bytes."""
OWN = ("same-origin", "none")
"""What a browser says in Sec-Fetch-Site of requests by a page of the explorer, and of an address that the user opened."""
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d{1,5})?", re.IGNORECASE)
_USUAL_PORTS = {"http": ":80", "https": ":443"}
_CLOSE = {"Connection": "close"}


@dataclass(frozen=True)
class Access:
    """Who may use the explorer: `host` is the address that it listens on; `token` is None if none is asked for; `public` is the origin that
    visitors see if a proxy is in front, such as `https://dict.example.org`."""

    host: str = NAMES[0]
    token: str | None = None
    read_only: bool = False
    public: str | None = None

    @property
    def scheme(self) -> str:
        """The scheme by which visitors come."""
        return self.public.partition(":")[0] if self.public else "http"

    def origin(self, host: str) -> str:
        """The origin of the explorer's own pages, for a visitor whose Host header is `host`."""
        return self.public or f"http://{host}"

    def accepts_host(self, header: str) -> bool:
        """Whether a Host header names this server. With `public` it has no other name. Else, on an address that other machines reach, each IP
        address may be one of its own: a page of another site cannot have one as its name."""
        written = _HOST.fullmatch(header)
        if written is None:
            return False
        if self.public is not None:
            return f"{self.scheme}://{header.lower()}".removesuffix(_USUAL_PORTS[self.scheme]) == self.public
        name = written[1].lower()
        if name.strip("[]") in (*NAMES, self.host.lower()):
            return True
        if is_loopback(self.host):
            return False
        return _is_address(name) or name in _own_names()


class Guard:
    """Wraps an application: refuses requests, and adds headers to the responses."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        scope = {**scope, "scheme": self.access.scheme}
        answer = self._refusal(scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in (HEADERS | {"Content-Security-Policy": POLICY}).items():
                    headers.setdefault(name, value)
            await send(message)

        with suppress(ClientDisconnect):  # while a body was read: nobody is there to be answered
            await (answer or self.app)(scope, _bounded(receive), send_with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        """The response to a request that is not admitted, or that brings the token; None if the application answers."""
        headers = Headers(scope=scope)
        host, method = headers.get("host", ""), scope["method"]
        if not self.access.accepts_host(host):
            name = self.access.public or "the address that the command printed"
            return PlainTextResponse(f"this server has another name: open {name}", 400)
        if len(scope["raw_path"]) + len(scope["query_string"]) > MOST_ADDRESS:
            return PlainTextResponse("the address is too long", 414, _CLOSE)
        if sum(len(name) + len(value) for name, value in headers.raw) > MOST_HEADERS:
            return PlainTextResponse("the headers of the request are too large", 431, _CLOSE)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > MOST_BODY:
            return PlainTextResponse("the body of the request is too large", 413, _CLOSE)
        if "content-length" in headers and "transfer-encoding" in headers:
            return PlainTextResponse("the length of the request is stated in two ways", 400, _CLOSE)
        if not _is_own(headers, method):
            return PlainTextResponse("this request did not come from a page of the explorer", 403)
        if method not in READING:
            if headers.get("origin") != self.access.origin(host):
                return PlainTextResponse("this request did not come from a page of the explorer", 403)
            if self.access.read_only and QUESTIONS not in scope["path"]:
                return PlainTextResponse("the explorer was started with --read-only", 403)
        if self.access.token is not None:
            return self._ask_for_token(scope, headers, self.access.token)
        return None

    def _ask_for_token(self, scope: Scope, headers: Headers, token: str) -> Response | None:
        """None if the request has the token in its cookie. In the address it becomes the cookie."""
        secure = self.access.scheme == "https"
        # A browser accepts a name with this prefix from this host alone, and over TLS alone.
        name = f"{'__Host-' if secure else ''}autointerp-explorer-{scope['server'][1]}"
        given = QueryParams(scope["query_string"])
        if _same(given.get("token", ""), token):
            rest = [(key, value) for key, value in given.multi_items() if key != "token"]
            path = "/" + scope["raw_path"].decode("ascii", "replace").lstrip("/")  # `//name` would be another server
            moved = RedirectResponse(path + (f"?{urlencode(rest)}" if rest else ""), 303)
            # Lax: a strict cookie is not sent after the redirect that sets it if another page led here.
            moved.set_cookie(name, token, httponly=True, secure=secure, samesite="lax")
            return moved
        if _same(_cookie(headers, name), token):
            return None
        return PlainTextResponse("open the address that the command printed: it has the token", 401)


def _is_own(headers: Headers, method: str) -> bool:
    """Whether a request is by a page of the explorer, or opens one: a link on another page may lead here, but nothing of the explorer may be
    fetched or framed there."""
    if headers.get("sec-fetch-site", OWN[0]) in OWN:
        return True
    opened = headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")
    return method in READING and opened == ("navigate", "document")


def _bounded(receive: Receive) -> Receive:
    """The parts of a request's body, of which a route gets at most `MOST_BODY` bytes; more raises `HTTPException`."""
    size = 0

    async def receive_part() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > MOST_BODY:
            raise HTTPException(413, "the body of the request is too large", _CLOSE)
        return message

    return receive_part


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host.strip("[]")).is_loopback)


@cache
def _own_names() -> tuple[str, str]:
    """The names of this machine, asked for once: a name server may take seconds, in which no page is answered."""
    return socket.gethostname().lower(), socket.getfqdn().lower()


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
