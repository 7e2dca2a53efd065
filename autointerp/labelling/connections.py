"""Keeps a page reachable while other processes hold connections open without a request, or send one very slowly."""

from __future__ import annotations

import itertools
from asyncio import TimerHandle, Transport
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS = 64
"""More than a browser opens, and far fewer than the files that a process may open."""
REQUEST_S = 10.0
"""Seconds in which a request has to arrive whole, from the opening of its connection or the response before it."""
_numbers = itertools.count()


class BoundedConnections(H11Protocol):
    """uvicorn's HTTP protocol with two bounds. A new connection closes the oldest one without a complete request if there are too many,
    and a connection whose request does not arrive in time is closed.

    A browser opens a closed connection again, so its next request succeeds whatever others hold open.
    """

    deadline: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.number = next(_numbers)
        self._watch()
        if len(self.connections) > MAX_CONNECTIONS:
            others: list[Any] = [connection for connection in self.connections if connection is not self]
            oldest = min(others, key=lambda other: (_is_answering(other), other.number))
            oldest.transport.abort()
            self.connections.discard(oldest)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_watching()

    def _watch(self) -> None:
        """Start the clock if a request is awaited or incomplete, and stop it if one is complete."""
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY) or self.transport.is_closing():
            self._stop_watching()
        elif self.deadline is None:
            self.deadline = self.loop.call_later(REQUEST_S, self.transport.abort)

    def _stop_watching(self) -> None:
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None


def _is_answering(connection: H11Protocol) -> bool:
    return connection.cycle is not None and not connection.cycle.response_complete
