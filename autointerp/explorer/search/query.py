"""A search as its address writes it: `q=legal+terms&density=0.001..0.01&sort=-maximum`, or units by their rows: `rows=3,7-12`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autointerp.errors import UsageError
from autointerp.explorer.search.columns import KINDS, NUMBERS

MATCH = "match"
"""The order of a search for words or by meaning: the best first."""
MOST_CHARACTERS = 300
"""Longest text that is searched for."""
MOST_ROWS_CHARACTERS = 8_000
"""Longest list of rows, about as many as an address may have; `static/map.js` knows it too."""
_ROW = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?", re.ASCII)
MOST_FIRING = 1_000
"""Longest text on which units are to fire, or not to."""


@dataclass(frozen=True)
class Query:
    """What is searched for. `ranges` holds a column, its least and its largest value, both included and each None if it is open."""

    words: str = ""
    meaning: str = ""
    fires: str = ""
    """A text on which units fire."""
    without: str = ""
    """A text on which they do not."""
    kind: str = ""
    explained: bool | None = None
    ranges: tuple[tuple[str, float | None, float | None], ...] = ()
    sort: str = "row"
    descending: bool = False
    rows: tuple[tuple[int, int], ...] = ()
    """First and last rows of ranges of units, of which the others are filtered; all units if it is empty."""
    list_id: int | None = None
    """A list of units; the index does not know it, and finds the units of all."""
    noted: bool | None = None
    """Whether the units have a note, which the index does not know either."""

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Query:
        """The query in the parameters of an address; other parameters are ignored. Raises `UsageError` for a value that is wrong."""
        words, meaning = given.get("q", "").strip(), given.get("meaning", "").strip()
        fires, without = given.get("fires", "").strip(), given.get("without", "").strip()
        for text, most in (
            (words, MOST_CHARACTERS),
            (meaning, MOST_CHARACTERS),
            (fires, MOST_FIRING),
            (without, MOST_FIRING),
        ):
            if len(text) > most:
                raise UsageError(f"a search of {len(text)} characters is too long: give at most {most}")
        matches = bool(words or meaning or fires)
        kind, explained, noted, list_id = (given.get(name, "") for name in ("kind", "explained", "noted", "list"))
        if kind not in ("", *KINDS):
            raise UsageError(f"kind={kind[:40]!r} is none of {', '.join(KINDS)}: name one, or leave it out")
        if list_id and not (list_id.isdecimal() and len(list_id) < 10):
            raise UsageError(f"list={list_id[:40]!r} is no number of a list: the page of lists has them")
        sort = given.get("sort", "") or (MATCH if matches else "row")
        column = sort.removeprefix("-")
        if column not in (MATCH, *NUMBERS):
            raise UsageError(
                f"sort={sort[:40]!r} is no column: give one of {', '.join(NUMBERS)}, with - for descending"
            )
        if column == MATCH and not matches:
            column = "row"
        return cls(
            words, meaning, fires, without if fires else "", kind, _yes_or_no("explained", explained),
            tuple((name, *range_of(name, given[name])) for name in NUMBERS if given.get(name)),
            column, sort.startswith("-") and column != MATCH, _rows(given.get("rows", "")),
            int(list_id) if list_id else None, _yes_or_no("noted", noted),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Firing:
    """The rows of the units that fire on a query's text, and the largest share of its maximum that each reaches there."""

    rows: NDArray[np.int64]
    shares: NDArray[np.float32]


def _yes_or_no(name: str, written: str) -> bool | None:
    if written not in ("", "yes", "no"):
        raise UsageError(f"{name}={written[:40]!r} is neither yes nor no: give one, or leave it out")
    return None if not written else written == "yes"


def _rows(written: str) -> tuple[tuple[int, int], ...]:
    """The ranges of `3,7-12`."""
    if len(written) > MOST_ROWS_CHARACTERS:
        raise UsageError(f"rows of {len(written):,} characters are too many: give at most {MOST_ROWS_CHARACTERS:,}")
    found = [_ROW.fullmatch(part) for part in written.split(",")] if written else []
    ranges = [(int(part[1]), int(part[2] or part[1])) for part in found if part]
    if len(ranges) < len(found) or any(first > last for first, last in ranges):
        raise UsageError(f"rows={written[:40]!r} is no list of rows: write 3,7-12")
    return tuple(ranges)


def range_of(name: str, written: str) -> tuple[float | None, float | None]:
    """Both ends of `0.1..0.5`, `0.1..` or `..0.5`, None for an open one. Raises `UsageError` for another text."""
    low, dots, high = written.partition("..")
    try:
        ends = float(low) if low else None, float(high) if high else None
        if dots and (low or high) and not any(end is not None and math.isnan(end) for end in ends):
            return ends
    except ValueError:
        pass
    raise UsageError(f"{name}={written[:40]!r} is no range: write LOW..HIGH, LOW.. or ..HIGH")
