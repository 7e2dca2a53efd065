"""Posts regressions to the user's URL. The message holds numbers and names only: no key, prompt or corpus text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx2
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from autointerp.formatting import estimate

TIMEOUT_S = 10.0
ATTEMPTS = 3


class _Refused(Exception):
    """The server answered with an error status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"it answered {status}")
        self.is_temporary = status == 429 or status >= 500


def payload(night: str, regressions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The message about a night's regressions. Its `text` is for chat services that show this key only."""
    parts = [f"{r['lineage']}: {difference(r)} against {r['previous_run_id']}" for r in regressions]
    text = f"autointerp, night {night}: regression of " + "; ".join(parts)
    return {"event": "regression", "night": night, "regressions": [dict(r) for r in regressions], "text": text}


def difference(regression: Mapping[str, Any]) -> str:
    """A regression's difference with its interval."""
    return estimate(regression["difference"], regression["ci_low"], regression["ci_high"], signed=True)


def post(url: str, body: Mapping[str, Any], *, wait_s: float = 1.0) -> str:
    """Send a message, up to `ATTEMPTS` times after temporary failures. Returns an error, or an empty string; never raises.

    The error names only the URL's host, because the rest of it is often a secret.
    """

    def is_temporary(error: BaseException) -> bool:
        return error.is_temporary if isinstance(error, _Refused) else isinstance(error, httpx2.TransportError)

    attempts = Retrying(
        stop=stop_after_attempt(ATTEMPTS), wait=wait_exponential(wait_s, max=30), retry=retry_if_exception(is_temporary), reraise=True
    )  # fmt: skip
    try:
        with httpx2.Client(timeout=TIMEOUT_S, follow_redirects=False) as client:
            attempts(_once, client, url, body)
    except (_Refused, httpx2.HTTPError, httpx2.InvalidURL) as error:
        reason = str(error) if isinstance(error, _Refused) else type(error).__name__
        return f"the webhook at {urlsplit(url).hostname} could not be notified: {reason}"
    return ""


def _once(client: Any, url: str, body: Mapping[str, Any]) -> None:
    answer = client.post(url, json=dict(body))
    if not answer.is_success:
        raise _Refused(answer.status_code)
