"""How long a provider asks callers to wait, and its limits per minute, read from the headers of its answers.

`retry-after` is the provider's own advice and wins if it is present. The reset headers say when a limit is full again, which is later than
necessary, so they count only without `retry-after`. Gateways pass headers of other vendors on, so those of all providers are read.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from autointerp.messages import RateLimits
from autointerp.spec.providers import PROVIDERS

MAX_PLAUSIBLE_S = 7 * 24 * 3600.0
"""A wait of more than a week comes from a wrong clock or header and is ignored."""
CLOCK_TOLERANCE_S = 5.0
"""Two clocks that differ by less are taken to agree: a `date` header has whole seconds and is as old as its answer."""

_FAMILIES = tuple(dict.fromkeys(row.rate_headers for row in PROVIDERS.values() if row.rate_headers))
_RESETS = tuple((family, re.compile(re.escape(family.reset).replace(r"\{\}", "(.+)"))) for family in _FAMILIES)
_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|d|h|m|s)")


def retry_after(headers: Mapping[str, str], now: Callable[[], float] = time.time) -> float | None:
    """Seconds to wait, or None if the headers do not say.

    Reads `retry-after-ms`, `retry-after` (seconds or an HTTP date, RFC 9110 section 10.2.3), and the providers' reset headers. Of several
    resets the latest counts; if a limit has nothing remaining, only the resets of such limits do. Points in time are compared with the
    answer's own `date` if this host's clock is off.
    """
    lower = _lower(headers)
    advised, now_s = _plausible(_milliseconds(lower.get("retry-after-ms"))), _provider_time(lower, now())
    if advised is None:
        advised = _plausible(_seconds_or_date(lower.get("retry-after"), now_s))
    if advised is not None:
        return advised
    resets = list(_resets(lower, now_s))
    exhausted = [wait for wait, is_exhausted in resets if is_exhausted]
    return max(exhausted or [wait for wait, _ in resets], default=None)


def rate_limits(headers: Mapping[str, str]) -> RateLimits | None:
    """The account's limits per minute, or None if the headers state none.

    A provider that limits input and output tokens together (OpenAI) states one number, which then limits each of them.
    """
    lower = _lower(headers)
    limits = RateLimits(
        _first_count(lower, [family.limit.format(family.requests) for family in _FAMILIES]),
        _first_count(lower, [family.limit.format(family.input_tokens) for family in _FAMILIES]),
        _first_count(lower, [family.limit.format(family.output_tokens) for family in _FAMILIES]),
    )
    return None if limits == RateLimits() else limits


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value.strip() for name, value in headers.items()}


def _provider_time(headers: Mapping[str, str], local: float) -> float:
    """The provider's time if it clearly differs from the local time, else the local time, which is finer."""
    there = _seconds_or_date(headers.get("date"), 0.0)
    return local if there is None or abs(there - local) < CLOCK_TOLERANCE_S else there


def _first_count(headers: Mapping[str, str], names: list[str]) -> int | None:
    """The first of the headers that holds a positive whole number of at most 15 digits."""
    values = (headers.get(name, "") for name in names)
    return next((int(value) for value in values if re.fullmatch(r"[0-9]{1,15}", value) and int(value)), None)


def _resets(headers: Mapping[str, str], now_s: float) -> Iterator[tuple[float, bool]]:
    """Seconds until each limit is full again, and whether nothing of it remains."""
    for name, value in headers.items():
        for family, pattern in _RESETS:
            if found := pattern.fullmatch(name):
                remaining = headers.get(family.remaining.format(found[1]))
                wait = _plausible(_until(value, now_s) if family.reset_is == "time" else _duration(value))
                if wait is not None:
                    yield wait, remaining is None or remaining == "0"


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
    except (ValueError, OverflowError):  # a year or an offset of many digits
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp() - now


def _until(value: str, now: float) -> float | None:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return _number(value)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp() - now


def _duration(value: str) -> float | None:
    parts = _DURATION.findall(value)
    if parts and "".join(number + unit for number, unit in parts) == value:
        return sum(float(number) * _UNITS[unit] for number, unit in parts)
    return _number(value)


def _number(value: str | None) -> float | None:
    if value is None or not re.fullmatch(r"-?\d+(\.\d+)?", value):
        return None
    return float(value)


def _plausible(seconds: float | None) -> float | None:
    if seconds is None or seconds > MAX_PLAUSIBLE_S:
        return None
    return max(0.0, seconds)
