"""The explorer on a port of this machine, for tests that ask it over HTTP or in a browser."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette

from autointerp.explorer.web.app import application, close
from autointerp.explorer.web.guard import Access
from autointerp.explorer.web.known_ledger import KnownLedger
from autointerp.explorer.web.library import Library
from autointerp.labelling import local_server
from autointerp.ledger.database import Ledger


@contextmanager
def served(library: Library, ledger: Ledger | None = None, *, usd: float | None = None, **access: Any) -> Iterator[str]:
    """The explorer's address, without a slash at its end, while a server thread serves it."""
    with serving(application(library, Access(**access), KnownLedger(library.results, ledger), usd=usd)) as url:
        yield url


@contextmanager
def serving(app: Starlette) -> Iterator[str]:
    """The same for an application of the explorer."""
    listening = local_server.listen(0, [])
    server = uvicorn.Server(local_server.settings(app))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        close(app)
        listening.close()
