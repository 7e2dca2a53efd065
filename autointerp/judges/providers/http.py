"""Parts of one HTTP attempt: reading the body before a deadline, parsing it, and connection failures as outcomes.

The SDKs' read timeout restarts with every byte, so a server that sends slowly could block a thread without end; here `timeout_s`
limits the whole reply. Outcomes are returned rather than raised, so that no SDK exception is kept as their `__context__`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import httpx2

from autointerp.judges.base import JudgeError, MayRetry, MustStop
from autointerp.judges.error_codes import redact
from autointerp.messages import Usage
from autointerp.redaction import hide_known

CONNECT_S = 10.0
"""Seconds to open a connection. A host that takes longer counts as down."""
_NOT_SENT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "LocalProtocolError"})
"""Failures that occur before the request is sent, so that nothing can be billed."""


MAX_BODY = 16 * 2**20
"""Largest body of a reply, unpacked, in bytes: a hundred times the longest answer with its probabilities."""


class DeadlinePassed(Exception):
    """The reply was still arriving at its deadline."""


class SentElsewhere(httpx2.HTTPError):
    """A redirect, or a link in a reply, points to another server."""


class TooLarge(Exception):
    """The reply is larger than `MAX_BODY`."""


def timeout(timeout_s: float) -> Any:
    """The SDKs' timeout object: `timeout_s` between bytes, and at most `CONNECT_S` to connect."""
    return httpx2.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s))


def only_to(base: httpx2.URL) -> Callable[[httpx2.Request], None]:
    """A hook that raises `SentElsewhere` for a request to any server but that of `base`: prompts and keys go nowhere else.

    The same host by https in the place of http counts as the same server.
    """

    def check(request: httpx2.Request) -> None:
        url = request.url
        upgraded = (base.scheme, base.port, url.scheme, url.port) == ("http", None, "https", None)
        if url.host != base.host or not (upgraded or (url.scheme, url.port) == (base.scheme, base.port)):
            raise SentElsewhere(f"redirects to another server, {url.host}, to which nothing is sent")

    return check


def read(chunks: Iterable[bytes], deadline: float) -> bytes:
    """Read a whole body. Raises `DeadlinePassed` if it is not complete at monotonic time `deadline`, and `TooLarge`."""
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if time.monotonic() > deadline:
            raise DeadlinePassed
        if len(body) > MAX_BODY:
            raise TooLarge(f"the reply is larger than {MAX_BODY // 2**20} MiB")
    return bytes(body)


def parse(provider: str, body: bytes) -> dict[str, Any] | MayRetry:
    """The JSON object in a reply's body; `MayRetry` of unknown usage if the body was cut off or replaced on its way."""
    try:
        value = json.loads(hide_known(body.decode(json.detect_encoding(body), "surrogatepass")))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        start = redact(body[:80].decode(errors="replace"))
        message = f"{provider} answered with something that is not a JSON object: {start!r}"
        return MayRetry(message, usage=Usage(known=False))
    return value


def connection_outcome(provider: str, error: BaseException, timeout_s: float) -> JudgeError:
    """The outcome of a timeout or a broken connection; `error` is the SDK's, httpx2's or one of this module.

    Its usage is unknown if the request may have reached the provider, which may then bill it.
    """
    causes = [error, error.__cause__]
    if moved := next((cause for cause in causes if isinstance(cause, SentElsewhere)), None):
        return MustStop(f"{provider} {moved}: set judge.base_url to the server's own address")
    names = [type(cause).__name__ for cause in causes if cause is not None]
    usage = None if any(name in _NOT_SENT for name in names) else Usage(known=False)
    if any("Timeout" in name or name == "DeadlinePassed" for name in names):
        return MayRetry(f"{provider} did not answer within {timeout_s:g} s (judge.timeout_s)", usage=usage)
    detail = redact(str(error.__cause__ or error)) or names[-1]
    return MayRetry(f"the connection to {provider} failed: {detail}", usage=usage)


def count(usage: Mapping[str, Any], *path: str) -> int:
    """The count at `path` in an object; 0 if it is missing, null, negative, infinite or not a number."""
    value: Any = usage
    for part in path:
        value = value.get(part) if isinstance(value, Mapping) else None
    is_count = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 2**53
    return int(value) if is_count else 0
