"""A search of items as its address writes it: `of=items&kind=grade&state=unscored&q=legal`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autointerp.errors import UsageError
from autointerp.explorer.items.names import UNSCORED

ITEMS, CALLS = "items", "calls"
MOST_CHARACTERS, MOST_WORDS = 300, 8
SORTS = {"cost": "cost_usd", "time": "duration_s", "at": "started_at", "grade": "score", "tokens": "input_tokens"}
"""What items can be sorted by, and its column."""
_NAMES = ("kind", "state", "arm", "unit", "grade", "judge")


@dataclass(frozen=True)
class Query:
    """What is searched for. Empty values do not narrow the list."""

    of: str = ITEMS
    words: tuple[str, ...] = ()
    kind: str = ""
    state: str = ""
    arm: str = ""
    unit: str = ""
    grade: str = ""
    judge: str = ""
    sort: str = ""

    @classmethod
    def of_address(cls, given: Mapping[str, str]) -> Query:
        """The query in the parameters of an address; others are ignored. Raises `UsageError` for a value that is wrong."""
        of, text, sort = given.get("of", "") or ITEMS, given.get("q", "").strip(), given.get("sort", "")
        if of not in (ITEMS, CALLS):
            raise UsageError(f"of={of[:40]!r} is neither {ITEMS} nor {CALLS}: give one, or leave it out")
        if len(text) > MOST_CHARACTERS or len(text.split()) > MOST_WORDS:
            raise UsageError(f"a search has at most {MOST_WORDS} words and {MOST_CHARACTERS} characters: shorten it")
        if sort and sort.removeprefix("-") not in SORTS:
            raise UsageError(f"sort={sort[:40]!r} is none of {', '.join(SORTS)}: name one, with - for descending")
        grade = given.get("grade", "")
        if grade and not (grade.isdecimal() and len(grade) < 4):
            raise UsageError(f"grade={grade[:40]!r} is no grade: give a whole number")
        values = {name: given.get(name, "")[:200] for name in _NAMES}
        return cls(of, tuple(dict.fromkeys(text.casefold().split())), **values, sort=sort)


def matches(frame: pd.DataFrame, query: Query) -> NDArray[np.bool_]:
    """The rows of a frame with the query's values, whatever its words."""
    found = np.ones(len(frame), dtype=bool)
    for column, wanted in (("kind", query.kind), ("arm", query.arm), ("unit_id", query.unit), ("judge", query.judge)):
        if wanted:
            found &= (frame[column] == wanted).to_numpy()
    if query.state:
        unscored = query.state == UNSCORED
        found &= (frame["outcome"] != "scored" if unscored else frame["outcome"] == query.state).to_numpy()
    if query.grade:
        found &= (frame["score"] == float(query.grade)).to_numpy()
    return found


def in_order(frame: pd.DataFrame, rows: NDArray[np.int64], sort: str) -> NDArray[np.int64]:
    """The rows sorted as the query says; those without a value come last."""
    if not sort:
        return rows
    values = frame[SORTS[sort.removeprefix("-")]].to_numpy(dtype=float)[rows]
    order = np.argsort(-values if sort.startswith("-") else values, kind="stable")  # not-a-number sorts last
    return np.asarray(rows[order])


def facets(frame: pd.DataFrame) -> dict[str, dict[str, int]]:
    """The numbers of rows by the values that a page offers as filters."""

    def count(values: Any) -> dict[str, int]:
        return {str(value): int(n) for value, n in values.value_counts().items() if str(value)}

    grades = frame["score"].dropna().astype(int)
    return {
        "kind": count(frame["kind"]),
        "state": count(frame["outcome"]),
        "arm": count(frame["arm"]),
        "grade": dict(sorted(count(grades).items())),
        "judge": count(frame["judge"]),
    }
