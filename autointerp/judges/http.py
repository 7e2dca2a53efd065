"""One HTTP attempt at a provider: its body within a deadline, and connection failures as outcomes.

The SDKs' read timeout restarts with every byte, so a server that trickles could hold a thread for ever. Here the
whole reply has `timeout_s`. Outcomes are returned and not raised, so that no SDK exception stays behind as their
context.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

import httpx2

from autointerp.judges.base import JudgeError, MayRetry
from autointerp.judges.error_codes import tidy
from autointerp.messages import Usage

CONNECT_S = 10.0
"""Seconds to open a connection; a host that is slower than this is down."""
_UNSENT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "LocalProtocolError"})
"""Failures before anything was sent."""


class DeadlinePassed(Exception):
    """The reply was still coming when its time was up."""


def timeout(timeout_s: float) -> Any:
    """The SDKs' timeout object: `timeout_s` between bytes, and a shorter limit to connect."""
    return httpx2.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s))


def read(chunks: Iterable[bytes], deadline: float) -> bytes:
    """All of a body. Raises `DeadlinePassed` when monotonic time `deadline` comes first."""
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if time.monotonic() > deadline:
            raise DeadlinePassed
    return bytes(body)


def parse(provider: str, body: bytes) -> dict[str, Any] | MayRetry:
    """The JSON object of a reply; a reply that is none was cut or mangled on its way."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        start = tidy(body[:80].decode(errors="replace"))
        message = f"{provider} answered with something that is not a JSON object: {start!r}"
        return MayRetry(message, usage=Usage(known=False))
    return value


def connection_outcome(provider: str, error: BaseException, timeout_s: float) -> JudgeError:
    """What a timeout or a broken connection stands for; `error` is the SDK's, httpx2's or `DeadlinePassed`.

    Once the question may have arrived, the provider may bill for it: the usage is then unknown.
    """
    causes = [error, error.__cause__]
    names = [type(cause).__name__ for cause in causes if cause is not None]
    usage = None if any(name in _UNSENT for name in names) else Usage(known=False)
    if any("Timeout" in name or name == "DeadlinePassed" for name in names):
        return MayRetry(f"{provider} did not answer within {timeout_s:g} s (judge.timeout_s)", usage=usage)
    detail = tidy(str(error.__cause__ or error)) or names[-1]
    return MayRetry(f"the connection to {provider} failed: {detail}", usage=usage)


def count(usage: Mapping[str, Any], *path: str) -> int:
    """A token count somewhere in a usage object; 0 where it is missing, null or not a number."""
    value: Any = usage
    for part in path:
        value = value.get(part) if isinstance(value, Mapping) else None
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else 0
