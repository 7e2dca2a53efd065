"""Posts regressions to a URL of the user's. It carries numbers and names: no key, no prompt, no text of the corpus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx2
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

TIMEOUT_S = 10.0
ATTEMPTS = 3


class _Refused(Exception):
    """The server answered with something else than success."""

    def __init__(self, status: int) -> None:
        super().__init__(f"it answered {status}")
        self.passing = status == 429 or status >= 500


def payload(night: str, regressions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What is posted. `text` says it in words, for chat services that show that key alone."""
    said = [
        f"{r['lineage']}: {r['difference']:+.2f} [{r['ci_low']:.2f}, {r['ci_high']:.2f}] against {r['previous_run_id']}"
        for r in regressions
    ]
    text = f"autointerp, night {night}: regression of " + "; ".join(said)
    return {"event": "regression", "night": night, "regressions": [dict(r) for r in regressions], "text": text}


def post(url: str, body: Mapping[str, Any], *, wait_s: float = 1.0) -> str:
    """Send it, and again after a passing failure. Returns why it did not arrive, or an empty string; never raises.

    Only the URL's host is named: the rest of it is often a secret.
    """

    def passing(error: BaseException) -> bool:
        return error.passing if isinstance(error, _Refused) else isinstance(error, httpx2.TransportError)

    attempts = Retrying(
        stop=stop_after_attempt(ATTEMPTS), wait=wait_exponential(wait_s, max=30), retry=retry_if_exception(passing), reraise=True
    )  # fmt: skip
    try:
        with httpx2.Client(timeout=TIMEOUT_S, follow_redirects=False) as client:
            attempts(_once, client, url, body)
    except (_Refused, httpx2.HTTPError, httpx2.InvalidURL) as error:
        reason = str(error) if isinstance(error, _Refused) else type(error).__name__
        return f"the webhook at {urlsplit(url).hostname} was not told: {reason}"
    return ""


def _once(client: Any, url: str, body: Mapping[str, Any]) -> None:
    answer = client.post(url, json=dict(body))
    if not answer.is_success:
        raise _Refused(answer.status_code)
