"""Comparisons that pages ask for: what is known of each, from its files and from the process that computes it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import asdict
from functools import cached_property
from typing import Any

from autointerp.errors import UsageError
from autointerp.explorer.comparison import figures, files
from autointerp.explorer.comparison.jobs import Jobs, Key
from autointerp.explorer.comparison.listing import Listing
from autointerp.explorer.comparison.pairs import Pairs
from autointerp.explorer.comparison.relation import Side
from autointerp.explorer.comparison.schema import Matching
from autointerp.explorer.search.reader import Reader

_OPEN = 3
"""Comparisons that are kept in memory."""


class Opened:
    """Two open indexes and the comparison of them; `matching` is None until it is computed."""

    def __init__(self, own: Reader, other: Reader, matching: Matching | None) -> None:
        self.own, self.other, self.matching = own, other, matching

    @cached_property
    def distributions(self) -> list[dict[str, Any]]:
        """Histograms of both indexes."""
        return figures.distributions(self.own, self.other)

    @cached_property
    def figures(self) -> list[dict[str, Any]]:
        """Figures of both indexes."""
        return figures.figures(self.own, self.other, self.matching.grades if self.matching else None)

    @cached_property
    def listing(self) -> Listing | None:
        """The matched pairs; None if features cannot be matched."""
        matched = self.matching is not None and self.matching.relation != "apart"
        return Listing(Pairs(self.own, self.other, self.matching)) if self.matching and matched else None

    @cached_property
    def matches(self) -> dict[str, Any] | None:
        """How many features are found again, and the lengths of the lists; None if features cannot be matched."""
        if self.listing is None:
            return None
        pairs = self.listing.pairs
        return {"found": figures.found_again(pairs), "lengths": figures.lengths(pairs), "texts": figures.texts(pairs)}


class Comparisons:
    """All comparisons of an explorer. Threads may share it."""

    def __init__(self) -> None:
        self.jobs = Jobs()
        self._open: OrderedDict[Key, Opened] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, own: Reader, other: Reader) -> tuple[Opened, dict[str, Any]]:
        """The comparison of two indexes and its state: `done`; `new` if it was not asked for; else that of its job."""
        side, back = Side(own.folder), Side(other.folder)
        matching = files.read(side, other.about.identity)
        half = files.read(back, side.about.identity)  # missing in a folder that was copied before
        if matching and (half is None or matching.graded != files.results_hash(side, back)):
            matching = None
        opened = self._opened(own, other, matching)
        if matching:
            return opened, {"state": "done"}
        job = self.jobs.of(_key(own, other))
        return opened, asdict(job) if job else {"state": "new"}

    def listing(self, own: Reader, other: Reader) -> Listing:
        """The matched pairs of two indexes. Raises `UsageError` if there are none."""
        opened, state = self.of(own, other)
        if state["state"] != "done":
            raise UsageError("this comparison is not computed yet: open its page, which computes it")
        if opened.listing is None:
            raise UsageError(
                "the features of these two dictionaries cannot be matched: only distributions are compared"
            )
        return opened.listing

    def ask(self, own: Reader, other: Reader) -> bool:
        """Compute the comparison of two indexes, unless it is there or on its way. False if too many wait."""
        return self.of(own, other)[1]["state"] == "done" or self.jobs.ask(_key(own, other))

    def _opened(self, own: Reader, other: Reader, matching: Matching | None) -> Opened:
        key = _key(own, other)
        with self._lock:
            known = self._open.pop(key, None)
            if known is None or known.own is not own or known.other is not other or known.matching != matching:
                known = Opened(own, other, matching)
            self._open[key] = known
            while len(self._open) > _OPEN:
                self._open.popitem(last=False)
        return known


def _key(own: Reader, other: Reader) -> Key:
    return own.folder.path, other.folder.path
