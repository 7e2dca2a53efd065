"""Lists of a comparison: which pairs are shown, found by words and a range of cosines, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from autointerp.errors import UsageError
from autointerp.explorer.comparison.pairs import NONE, Entries, Floats, Integers, Pairs
from autointerp.explorer.search.query import MOST_CHARACTERS, Query, range_of
from autointerp.formatting import four_digits

SHOWN: dict[str, Callable[[Pairs], Entries]] = {
    "pairs": lambda pairs: pairs.pairs,
    "graded": lambda pairs: pairs.graded,
    "changed": lambda pairs: pairs.changed,
    "splits": lambda pairs: pairs.splits,
    "joins": lambda pairs: pairs.joins,
    "only-own": lambda pairs: pairs.only_own,
    "only-other": lambda pairs: pairs.only_other,
}
"""The lists by their names."""
FAMILIES = ("splits", "joins")
SORTS: dict[str, Callable[[Pairs, Entries], Floats | Integers]] = {
    "number": lambda pairs, entries: np.where(entries.own == NONE, entries.other, entries.own),
    "cosine": lambda pairs, entries: entries.cosine,
    "change": lambda pairs, entries: np.abs(pairs.difference(entries)),
    "difference": lambda pairs, entries: pairs.difference(entries),
    "similarity": lambda pairs, entries: pairs.similarity(entries),
    "grade": lambda pairs, entries: pairs.value(entries, 0, "grade"),
    "grade-other": lambda pairs, entries: pairs.value(entries, 1, "grade"),
    "density": lambda pairs, entries: pairs.value(entries, 0, "density"),
    "density-other": lambda pairs, entries: pairs.value(entries, 1, "density"),
    "ratio": lambda pairs, entries: pairs.ratio(entries, "density"),
    "rise": lambda pairs, entries: pairs.ratio(entries, "maximum"),
}
"""The columns by which pairs are sorted."""
USUAL = {
    "pairs": "-cosine",
    "graded": "-change",
    "changed": "similarity",
    "only-own": "-density",
    "only-other": "-density-other",
}
"""The usual order of the lists that are no families."""
_REMEMBERED = 8


@dataclass(frozen=True)
class Request:
    """The list that the address of a page names. `low` and `high` are the ends of the range of cosines, None if open."""

    show: str = "pairs"
    words: str = ""
    low: float | None = None
    high: float | None = None
    sort: str = ""

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Request:
        """The list in the parameters of an address; other parameters are ignored. Raises `UsageError` for a wrong value."""
        show, words, sort = given.get("show", "") or "pairs", given.get("q", "").strip(), given.get("sort", "")
        if show not in SHOWN:
            raise UsageError(f"show={show[:40]!r} is no list: give one of {', '.join(SHOWN)}")
        if len(words) > MOST_CHARACTERS:
            raise UsageError(f"a search of {len(words)} characters is too long: give at most {MOST_CHARACTERS}")
        if sort.removeprefix("-") not in ("", *SORTS):
            raise UsageError(f"sort={sort[:40]!r} is no column: give one of {', '.join(SORTS)}, with - for descending")
        low, high = range_of("cosine", given["cosine"]) if given.get("cosine") else (None, None)
        return cls(show, words, low, high, sort)


class Listing:
    """The lists of one comparison, of which the last ones are remembered."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs
        self.find = lru_cache(maxsize=_REMEMBERED)(self._find)

    def _find(self, request: Request) -> Entries:
        """The entries of a list in its order. Families stay together, and are found if one of their features is."""
        entries = SHOWN[request.show](self.pairs)
        kept = np.ones(len(entries), dtype=bool)
        if request.low is not None:
            kept &= entries.cosine >= request.low
        if request.high is not None:
            kept &= entries.cosine <= request.high
        if request.words:
            kept &= self._with_words(entries, request.words)
        if request.show in FAMILIES:
            return entries.take(np.isin(entries.family, entries.family[kept]))
        entries = entries.take(kept)
        return entries.take(self._order(entries, request.sort or USUAL[request.show]))

    def _with_words(self, entries: Entries, words: str) -> Any:
        """Mask of the entries of which one feature has the words, as the search of an index finds them."""
        found = np.zeros(len(entries), dtype=bool)
        for half, rows in ((self.pairs.own, entries.own), (self.pairs.other, entries.other)):
            has = np.zeros(len(half.reader.columns) + 1, dtype=bool)  # the last one is that of `NONE`
            has[half.reader.find(Query(words=words))] = True
            found |= has[rows]
        return found

    def _order(self, entries: Entries, sort: str) -> Integers:
        """Places of the entries by a column. Entries without a value come last, and equal ones by their numbers."""
        values = np.asarray(SORTS[sort.removeprefix("-")](self.pairs, entries), dtype=np.float64)
        if sort.startswith("-"):
            values = -values
        return np.lexsort((entries.other, entries.own, values))

    def cards(self, entries: Entries) -> list[dict[str, Any]]:
        """What a list shows of some entries."""
        pairs = self.pairs
        difference, similarity = pairs.difference(entries), pairs.similarity(entries)
        shared, compared = pairs.shared(entries)
        changed = pairs.matching.grades.changed if pairs.matching.grades else {}
        cards = []
        for i in range(len(entries)):
            own, other = self._side(0, int(entries.own[i])), self._side(1, int(entries.other[i]))
            cards.append(
                {
                    "own": own,
                    "other": other,
                    "cosine": four_digits(entries.cosine[i]),
                    "place": int(entries.place[i]),
                    "difference": four_digits(difference[i]),
                    "similarity": four_digits(similarity[i]),
                    "change": changed.get(own["unit_id"], "") if own and pairs.same else "",
                    "shared": None if shared[i] == NONE else int(shared[i]),
                    "compared": None if shared[i] == NONE else int(compared[i]),
                }
            )
        return cards

    def _side(self, side: int, row: int) -> dict[str, Any] | None:
        """What is known of a feature: its name, explanation, grade and density; None for no feature."""
        if row == NONE:
            return None
        reader = (self.pairs.own, self.pairs.other)[side].reader
        numbers = reader.columns.numbers
        return {
            **reader.name(row),
            "density": four_digits(numbers["density"][row]),
            "maximum": four_digits(numbers["maximum"][row]),
            "distinction": four_digits(numbers["distinction"][row]),
        }
