"""An HTTP client whose every exchange is bounded in time, from the first byte sent to the last one received, and error bodies in size.

httpx2's read timeout restarts with every byte, so that headers that arrive one byte at a time would never time out. Here the timeout
of each read and write is cut to the time that is left of the exchange. The two private attributes of httpx2 through which the
network is reached are checked by a test at each upgrade.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore2
import httpx2

from autointerp.judges.providers import http

_exchange = threading.local()


@contextmanager
def deadline(moment: float) -> Iterator[None]:
    """End everything that this thread sends or receives at monotonic time `moment`."""
    _exchange.deadline = moment
    try:
        yield
    finally:
        _exchange.deadline = None


def bounded(client: httpx2.Client) -> httpx2.Client:
    """The client, with `deadline` in force on all its connections, direct or through a proxy, and error bodies bounded."""
    client.event_hooks = {"request": [], "response": [_bound_error]}
    for transport in (client._transport, *client._mounts.values()):
        pool: Any = getattr(transport, "_pool", None)
        if pool is not None:
            pool._network_backend = _Backend(pool._network_backend)
    return client


def _bound_error(response: httpx2.Response) -> None:
    """Read an error's body here, because the SDK would read it whole, however large it unpacks."""
    if response.is_error:
        response._content = http.read(response.iter_bytes(), float("inf"))


def _left(timeout: float | None) -> float | None:
    moment = getattr(_exchange, "deadline", None)
    if moment is None:
        return timeout
    left: float = moment - time.monotonic()
    if left <= 0:
        raise httpcore2.ReadTimeout("the time of the whole exchange is over")
    return left if timeout is None else min(timeout, left)


class _Backend(httpcore2.NetworkBackend):
    def __init__(self, inner: httpcore2.NetworkBackend) -> None:
        self._inner = inner

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        return _Stream(self._inner.connect_tcp(host, port, _left(timeout), local_address, socket_options))

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore2.NetworkStream:
        return _Stream(self._inner.connect_unix_socket(path, _left(timeout), socket_options))

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


class _Stream(httpcore2.NetworkStream):
    def __init__(self, inner: httpcore2.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _left(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, _left(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
