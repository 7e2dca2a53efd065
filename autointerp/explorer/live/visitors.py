"""Counts the requests to a model that are in flight, of each visitor and of all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from autointerp.explorer.live import limits


class Visitors:
    """Requests in flight by network address: visitors behind one address count as one."""

    def __init__(self, of_visitor: int = limits.OF_VISITOR, of_all: int = limits.OF_ALL) -> None:
        self.of_visitor, self.of_all = of_visitor, of_all
        self._in_flight: Counter[str] = Counter()

    @contextmanager
    def one(self, address: str) -> Iterator[None]:
        """Within the block a request more is in flight. Raises `HTTPException` (429) if that is one too many."""
        if self._in_flight[address] >= self.of_visitor:
            raise HTTPException(
                429,
                f"{self.of_visitor} of your questions are being answered: wait for one of them, or close other pages",
            )
        if self._in_flight.total() >= self.of_all:
            raise HTTPException(
                429, f"{self.of_all} questions of all visitors are being answered: try again in a moment"
            )
        self._in_flight[address] += 1
        try:
            yield
        finally:
            self._in_flight[address] -= 1
            if not self._in_flight[address]:
                del self._in_flight[address]


class Counted:
    """Wraps an address that asks a model: a request is in flight until its answer is complete, or the visitor has gone."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        visitors: Visitors = scope["app"].state.visitors
        try:
            with visitors.one(address_of(scope)):
                await self.app(scope, receive, send)
        except HTTPException as error:
            await JSONResponse({"error": error.detail}, error.status_code)(scope, receive, send)


def address_of(scope: Scope) -> str:
    """The network address of a request."""
    client = scope.get("client")
    return str(client[0]) if client else ""
