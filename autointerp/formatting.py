"""How numbers are written for readers: one set of formats for the report, the terminal and error messages."""

from __future__ import annotations

import math
import re
from typing import Any

NOT_AVAILABLE = "n/a"
_MINUS = "\u2212"


def dollars(usd: float) -> str:
    """`$0.00`, `$12.34`; amounts below a dollar get four decimals."""
    return f"${usd:,.2f}" if usd == 0 or usd >= 1 else f"${usd:.4f}"


def number(value: float | None, digits: int = 2, *, signed: bool = False) -> str:
    """A fixed-point number with a true minus sign, and with a plus sign if `signed`."""
    if value is None:
        return NOT_AVAILABLE
    text = f"{value:{'+' if signed else ''}.{digits}f}"
    if float(text) == 0:
        text = text.replace("-", "+" if signed else "")
    return text.replace("-", _MINUS)


def estimate(value: float | None, low: float | None, high: float | None, *, signed: bool = False) -> str:
    """`0.52 [0.27, 0.78]`: an estimate with its interval, or without the brackets if it has none."""
    shown = number(value, signed=signed)
    if value is None or low is None or high is None:
        return shown
    return f"{shown} [{number(low, signed=signed)}, {number(high, signed=signed)}]"


def percent(share: float | None, digits: int | None = None) -> str:
    """A share as a percentage with `digits` decimals; by default `<0.1%`, `9.4%` below ten percent, `38%` above."""
    if share is None:
        return NOT_AVAILABLE
    value = 100 * share
    if digits is not None:
        return f"{value:.{digits}f}%"
    if 0 < value < 0.1:
        return "<0.1%"
    return f"{value:.1f}%" if 0 < value < 9.95 else f"{value:.0f}%"


def scientific(value: float | None) -> str:
    """A number of any magnitude, such as a density: `4.9e\u22123`, and 0 as `0`."""
    if value is None:
        return NOT_AVAILABLE
    if value == 0:
        return "0"
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits}e{int(exponent)}".replace("-", _MINUS)


def four_digits(value: float | None) -> float | None:
    """A number with the digits that a page shows; None for no value and for one that is not finite."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")


def count(value: int | None) -> str:
    """A whole number with thousands separated."""
    return NOT_AVAILABLE if value is None else f"{value:,}"


def plural(value: int, noun: str, nouns: str | None = None) -> str:
    """`1 call`, `2 calls`. `nouns` is the plural, if it is not formed with s."""
    return f"{value:,} {noun}" if value == 1 else f"{value:,} {nouns or noun + 's'}"


_FORMULA = re.compile(r"^(?=\s*[=+\-@].)", re.DOTALL)
"""The beginning of a formula; the sign of a neuron alone is none."""


def as_text_cell(value: Any) -> Any:
    """A value for a CSV file: a text that a spreadsheet would read as a formula is preceded by an apostrophe."""
    return _FORMULA.sub("'", value) if isinstance(value, str) else value


def sentence(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def duration(seconds: float) -> str:
    """Wall time: `4.2 s`, `42 s`, `3 min 12 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def day(timestamp: str) -> str:
    """The date of an ISO timestamp."""
    return timestamp[:10]
