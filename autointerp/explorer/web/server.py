"""Serves the explorer until Ctrl-C."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlencode

from autointerp.explorer.web.app import application, close
from autointerp.explorer.web.guard import Access, is_loopback
from autointerp.explorer.web.known_ledger import KnownLedger
from autointerp.explorer.web.library import Library
from autointerp.labelling import local_server
from autointerp.ledger.database import Ledger

_TOKEN_BYTES = 24


def access_of(host: str, token: str | None, *, read_only: bool, public: str | None = None) -> Access:
    """Who may use an explorer on `host`, or behind a proxy that makes it known as `public`. An address that other machines reach gets a token
    if none is given."""
    if token is None and (public or not is_loopback(host)):
        token = secrets.token_urlsafe(_TOKEN_BYTES)
    return Access(host, token, read_only, public)


def serve(
    library: Library, access: Access, ledger: Ledger | None, *, usd: float | None, port: int | None, open_browser: bool,
    say: Callable[[str], None],
) -> None:  # fmt: skip
    """Print the address, open it in a browser, and serve until Ctrl-C. Raises `UsageError` if the address cannot be used, and
    `KeyboardInterrupt` at the end."""
    listening = local_server.listen(port, ["explorer", str(library.results.resolve()), str(library.main)], access.host)
    name = f"[{access.host}]" if ":" in access.host else access.host
    question = f"?{urlencode({'token': access.token})}" if access.token else ""
    local = f"http://{name}:{listening.getsockname()[1]}"
    address = f"{access.public or local}/{question}"
    say(address)
    if access.public:
        say(f"for the proxy: {local}")
    app = application(library, access, KnownLedger(library.results, ledger), usd=usd)
    with closing(listening), TemporaryDirectory(prefix="autointerp-explore-") as folder:
        try:
            if open_browser:
                local_server.open_page(Path(folder), address)
            local_server.Server(local_server.settings(app)).serve_until_stopped(listening)
        finally:
            close(app)
