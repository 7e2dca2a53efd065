"""How long a provider asks its callers to wait, and how much it allows in a minute, read from its answer's headers.

`retry-after` is the providers' own advice and wins when it is there. The reset headers say when a limit is full
again, which is later than need be, so they count only where `retry-after` is missing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from autointerp.messages import RateLimits

LONGEST_SENSIBLE_S = 7 * 24 * 3600.0
"""A longer wait than a week is a broken clock or header, and is ignored."""

CLOCKS_AGREE_S = 5.0

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|d|h|m|s)")
_RESET = re.compile(r"^(x-ratelimit-reset-(?P<openai>.+)|anthropic-ratelimit-(?P<anthropic>.+)-reset)$")


def retry_after(headers: Mapping[str, str], now: Callable[[], float] = time.time) -> float | None:
    """Seconds to wait, or None where the headers do not say.

    Reads `retry-after-ms`, `retry-after` (seconds or an HTTP date, RFC 9110 section 10.2.3), OpenAI's
    `x-ratelimit-reset-*` (`1m30s`) and Anthropic's `anthropic-ratelimit-*-reset` (RFC 3339). Of several resets the
    largest counts, and those of limits with nothing remaining come before the others. Moments are compared with the answer's
    own `date` where this host's clock is off.
    """
    low = {name.lower(): value.strip() for name, value in headers.items()}
    advised, moment = _sensible(_milliseconds(low.get("retry-after-ms"))), _now(low, now())
    if advised is None:
        advised = _sensible(_seconds_or_date(low.get("retry-after"), moment))
    if advised is not None:
        return advised
    resets = list(_resets(low, moment))
    exhausted = [wait for wait, spent in resets if spent]
    return max(exhausted or [wait for wait, _ in resets], default=None)


def rate_limits(headers: Mapping[str, str]) -> RateLimits | None:
    """What the account may do in a minute, or None where the headers do not say.

    Reads Anthropic's `anthropic-ratelimit-{requests,input-tokens,output-tokens}-limit` and OpenAI's
    `x-ratelimit-limit-{requests,tokens}`. OpenAI's tokens are input and output together: either alone may be all of them.
    """
    low = {name.lower(): value.strip() for name, value in headers.items()}
    tokens = _count(low.get("x-ratelimit-limit-tokens"))
    limits = RateLimits(
        _count(low.get("anthropic-ratelimit-requests-limit")) or _count(low.get("x-ratelimit-limit-requests")),
        _count(low.get("anthropic-ratelimit-input-tokens-limit")) or tokens,
        _count(low.get("anthropic-ratelimit-output-tokens-limit")) or tokens,
    )
    return None if limits == RateLimits() else limits


def _now(headers: Mapping[str, str], here: float) -> float:
    """The provider's time, which has whole seconds, where it and ours are clearly apart."""
    there = _seconds_or_date(headers.get("date"), 0.0)
    return here if there is None or abs(there - here) < CLOCKS_AGREE_S else there


def _count(value: str | None) -> int | None:
    """A positive whole number that a limit can be, or None."""
    return int(value) if value and re.fullmatch(r"[0-9]{1,15}", value) and int(value) else None


def _resets(headers: Mapping[str, str], now: float) -> Iterator[tuple[float, bool]]:
    for name, value in headers.items():
        found = _RESET.match(name)
        if found is None:
            continue
        if found["openai"]:
            wait, remaining = _span(value), headers.get(f"x-ratelimit-remaining-{found['openai']}")
        else:
            wait, remaining = _moment(value, now), headers.get(f"anthropic-ratelimit-{found['anthropic']}-remaining")
        sensible = _sensible(wait)
        if sensible is not None:
            yield sensible, remaining is None or remaining == "0"


def _milliseconds(value: str | None) -> float | None:
    seconds = _number(value)
    return None if seconds is None else seconds / 1000


def _seconds_or_date(value: str | None, now: float) -> float | None:
    if not value:
        return None
    seconds = _number(value)
    if seconds is not None:
        return seconds
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp() - now


def _moment(value: str, now: float) -> float | None:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return _number(value)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp() - now


def _span(value: str) -> float | None:
    parts = _SPAN.findall(value)
    if parts and "".join(number + unit for number, unit in parts) == value:
        return sum(float(number) * _UNITS[unit] for number, unit in parts)
    return _number(value)


def _number(value: str | None) -> float | None:
    if value is None or not re.fullmatch(r"-?\d+(\.\d+)?", value):
        return None
    return float(value)


def _sensible(seconds: float | None) -> float | None:
    if seconds is None or seconds > LONGEST_SENSIBLE_S:
        return None
    return max(0.0, seconds)
