"""Keeps the labelling page reachable while other processes hold connections open without a request."""

from __future__ import annotations

import itertools
from asyncio import Transport
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS = 64
"""More than a browser opens, and far fewer than the files that a process may open."""
_numbers = itertools.count()


class BoundedConnections(H11Protocol):
    """uvicorn's HTTP protocol, except that a new connection closes the oldest one without a complete request if there are too many.

    A browser opens a closed connection again, so its next request succeeds whatever others hold open.
    """

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.number = next(_numbers)
        if len(self.connections) > MAX_CONNECTIONS:
            others: list[Any] = [connection for connection in self.connections if connection is not self]
            oldest = min(others, key=lambda other: (_is_answering(other), other.number))
            oldest.transport.abort()
            self.connections.discard(oldest)


def _is_answering(connection: H11Protocol) -> bool:
    return connection.cycle is not None and not connection.cycle.response_complete
