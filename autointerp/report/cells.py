"""Figures as the text of a table's cell: each with its interval, and with the reason if the figure or its interval is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from autointerp.findings.caveats import FEW_FREEDOM
from autointerp.formatting import NOT_AVAILABLE, count, number
from autointerp.stats.estimates import Part

BESIDE = "\u2013"
"""A cell without a figure, whose reason stands in another cell of the row."""


def value(part: Part, field: str, form: Callable[[Any], str] = number) -> str:
    """One field of a part, or why it is null."""
    found = getattr(part, field)
    return absent(part.reason(field)) if found is None else form(found)


def interval(
    part: Part,
    field: str = "mean",
    *,
    form: Callable[[Any], str] = number,
    limits: tuple[str, str] = ("ci_low", "ci_high"),
) -> str:
    """A field with its interval, or why one of the two is missing; marked if the interval rests on few units."""
    found, low, high = getattr(part, field), *(getattr(part, name) for name in limits)
    if found is None:
        return absent(part.reason(field))
    if low is None or high is None:
        why = part.reason(limits[0])
        return f"{form(found)} ({why})" if why else form(found)
    freedom = getattr(part, "freedom", None)
    few = " (few units)" if freedom is not None and freedom < FEW_FREEDOM else ""
    return f"{form(found)} [{form(low)}, {form(high)}]{few}"


def absent(why: str | None) -> str:
    """A figure that is missing, with the reason if it is known: summaries of early versions do not have all."""
    return f"{NOT_AVAILABLE} ({why})" if why else NOT_AVAILABLE


def counted(total: int, reasons: Mapping[str, int]) -> str:
    """A number of units with the reasons for which they are counted, and how many have each."""
    if len(reasons) == 1:
        return f"{count(total)} ({next(iter(reasons))})"
    each = "; ".join(f"{count(n)}: {why}" for why, n in sorted(reasons.items(), key=lambda item: (-item[1], item[0])))
    return f"{count(total)} ({each})" if each else count(total)
