"""Serves an application to a browser on this machine: its port, its settings, and how its address reaches the browser."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvicorn

from autointerp.errors import UsageError
from autointerp.hashing import content_hash
from autointerp.labelling.connections import BoundedConnections

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")
"""Accepted Host names; `localhost` is what a browser sends through an ssh tunnel."""
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def settings(app: Any) -> uvicorn.Config:
    """uvicorn's settings: warnings alone, no server header, and no trust in proxy headers."""
    return uvicorn.Config(
        app, log_config=None, log_level="warning", access_log=False, lifespan="off", ws="none", http=BoundedConnections, server_header=False,
        proxy_headers=False, timeout_graceful_shutdown=1,
    )  # fmt: skip


class Server(uvicorn.Server):
    """Cuts off requests that have not ended a second after Ctrl-C, without an error for each, and leaves what they do to the end of the
    process: it may take long."""

    def serve_until_stopped(self, listening: socket.socket) -> None:
        """Raises `KeyboardInterrupt`."""
        asyncio.new_event_loop().run_until_complete(self.serve(sockets=[listening]))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Complete requests, as far as there is time."""
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        await super().shutdown(sockets)


def listen(port: int | None, names: Sequence[str], host: str = HOST) -> socket.socket:
    """A socket at `port` or, without one, at the usual port of these names, where an open page finds the server again.

    Usual ports lie below those that systems assign to outgoing connections (from 32,768 on Linux), which could occupy them by chance.
    Raises `UsageError` if the port is taken or the host is not one of this machine.
    """
    usual = 20_000 + int(content_hash(["port", *names])[:8], 16) % 12_000
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for tried in (usual, 0) if port is None else (port,):
        # asyncio turns Nagle's algorithm off for sockets that name TCP alone. It would hold back each answer for 40 ms.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, tried))
            listening.listen(64)
        except OSError as error:
            listening.close()
            refused = error.strerror
            continue
        return listening
    if port is None:
        raise UsageError(f"--host {host} cannot be used ({refused}): name an address of this machine")
    raise UsageError(f"--port {port} cannot be used ({refused}): name another port, or leave it out")


def open_page(folder: Path, address: str) -> None:
    """Open an address in the browser, if one would open on this screen, through a page in a private folder."""
    if _has_screen():
        webbrowser.open(private_link(folder, address).as_uri())


def private_link(folder: Path, address: str) -> Path:
    """A page in a private folder that leads to the address. Without it, the token would be in the browser's command line."""
    page = folder / "open.html"
    page.write_text(
        f'<!doctype html><meta name="referrer" content="no-referrer"><meta http-equiv="refresh" content="0; url={address}">'
    )
    page.chmod(0o600)
    return page


def _has_screen() -> bool:
    """Whether a browser would open on the user's screen: not on the other side of ssh, and not inside this terminal."""
    if "SSH_CONNECTION" in os.environ:
        return False
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
