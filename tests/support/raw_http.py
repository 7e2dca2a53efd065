"""HTTP as an attacker writes it: requests byte by byte, and the answers up to the end of the connection."""

from __future__ import annotations

import http.client
import re
import socket
from typing import Any, NamedTuple
from urllib.parse import urlsplit

PATIENCE_S = 60


class Answer(NamedTuple):
    """A response; the names of its headers are in small letters."""

    status: int
    body: bytes
    headers: dict[str, str]


class Client:
    """A connection that is kept between requests. Headers that are None are left out, `Host` among them."""

    def __init__(self, url: str, connection: http.client.HTTPConnection | None = None) -> None:
        self.netloc = urlsplit(url).netloc
        self._connection = connection or http.client.HTTPConnection(self.netloc, timeout=PATIENCE_S)

    def ask(self, method: str, path: str, headers: dict[str, str | None] | None = None, body: bytes = b"") -> Answer:
        """The answer to a request, read to its end."""
        self._connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        given: dict[str, str | None] = {"Host": self.netloc, "Content-Length": str(len(body)) if body else None}
        for name, value in (given | (headers or {})).items():
            if value is not None:
                self._connection.putheader(name, value)
        self._connection.endheaders(body or None)
        answer = self._connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, b"" if _is_stream(found) else answer.read(), found)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


def _is_stream(headers: dict[str, str]) -> bool:
    return "text/event-stream" in headers.get("content-type", "")


def connect(url: str) -> socket.socket:
    """A connection to a server of this machine."""
    place = urlsplit(url)
    return socket.create_connection((place.hostname, place.port), timeout=PATIENCE_S)


def until_closed(connection: socket.socket) -> bytes:
    """All bytes that the server sends until it closes the connection."""
    parts = []
    while True:
        try:
            part = connection.recv(65_536)
        except ConnectionError:
            part = b""
        if not part:
            return b"".join(parts)
        parts.append(part)


def statuses(answers: bytes) -> list[int]:
    """The statuses of the responses in bytes from a server."""
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answers)]


def fill(path: str, values: dict[str, Any], default: str) -> str:
    """The address of a route, with values in place of its parameters."""
    return re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: str(values.get(found[1], default)), path)


def parameters(path: str) -> list[str]:
    """The names of a route's parameters."""
    return re.findall(r"\{(\w+)", path)
