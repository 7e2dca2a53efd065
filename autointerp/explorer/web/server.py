"""Serves the explorer until Ctrl-C."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlencode

import uvicorn

from autointerp.explorer.web.app import application
from autointerp.explorer.web.guard import Access, is_loopback
from autointerp.explorer.web.library import Library
from autointerp.labelling import local_server
from autointerp.ledger.database import Ledger

_TOKEN_BYTES = 24


def access_of(host: str, token: str | None, *, read_only: bool) -> Access:
    """Who may use an explorer on `host`. An address that other machines reach gets a token if none is given."""
    if token is None and not is_loopback(host):
        token = secrets.token_urlsafe(_TOKEN_BYTES)
    return Access(host, token, read_only)


def serve(
    library: Library, access: Access, ledger: Ledger | None, *, port: int | None, open_browser: bool, say: Callable[[str], None]
) -> None:  # fmt: skip
    """Print the address, open it in a browser, and serve until Ctrl-C. Raises `UsageError` if the address cannot be used."""
    listening = local_server.listen(port, ["explorer", str(library.results.resolve()), str(library.main)], access.host)
    name = f"[{access.host}]" if ":" in access.host else access.host
    question = f"?{urlencode({'token': access.token})}" if access.token else ""
    address = f"http://{name}:{listening.getsockname()[1]}/{question}"
    say(address)
    app = application(library, access, ledger)
    config = local_server.settings(app)
    with (
        closing(listening),
        closing(app.state.live),
        TemporaryDirectory(prefix="autointerp-explore-") as folder,
        suppress(KeyboardInterrupt),
    ):
        if open_browser:
            local_server.open_page(Path(folder), address)
        uvicorn.Server(config).run(sockets=[listening])
