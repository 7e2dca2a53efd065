"""A run's judgements as files: what lists show of them, and the prompts and replies: `static/published_calls.js` reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from autointerp.errors import UsageError
from autointerp.explorer.items import attempts, detail
from autointerp.explorer.items.detail import Place
from autointerp.explorer.items.listing import Listing, Listings, card
from autointerp.explorer.items.names import ARMS, STATES
from autointerp.explorer.items.query import CALLS, ITEMS, SORTS
from autointerp.explorer.items.rebuilt import OpenRun
from autointerp.explorer.publishing.folder import PublishedFolder
from autointerp.explorer.publishing.packing import Parts, packed_json, packed_numbers, smallest
from autointerp.explorer.publishing.private import Private
from autointerp.ledger import run_items
from autointerp.ledger.database import Ledger
from autointerp.redaction import hide

PARTS = {"cards": Parts(100), "details": Parts(50), "texts": Parts(50)}
"""Entries of a file. A file of cards is what a list asks for at a time."""
_FILTERS = {"kind": "kind", "state": "outcome", "arm": "arm", "unit": "unit_id", "judge": "judge"}
"""The filters of a list that compare texts, and the column of each."""
_NUMBERS = {"grade": "score", "call": "call_id"} | SORTS
_OF_THE_OWNER = ("worker", "request_id", "batch_key", "call_key", "reserved_usd")
"""What the ledger notes of a call for those who made it."""
_SERVER = ("base_url", "extra_body")
"""Parameters that may name a server."""


class Judgements:
    """The judgements of runs that the ledger knows, or else their files."""

    def __init__(self, results: Path, ledger: Ledger | None) -> None:
        self.results, self.ledger = results, ledger
        self._listings = Listings(results, lambda: ledger)

    def of(self, run: str) -> Listing | None:
        """The judgements of a run; None if it has none."""
        try:
            found = self._listings.of(self.results / run, newest=True)
        except UsageError:  # neither the ledger nor a file has them
            return None
        return found if len(found.frames.items) or len(found.frames.calls) else None

    def opened(self, run: str) -> OpenRun | str:
        """The run, to make its questions again, or why that is not possible."""
        try:
            return OpenRun(self.results, self.ledger, run, still=True)
        except UsageError as error:
            return str(error)


def write(
    folder: PublishedFolder, run: str, listing: Listing, opened: OpenRun | str, private: Private, step: Callable[[int], None]
) -> None:  # fmt: skip
    """Write the judgements of a run; `step` is told of the items and calls that are written."""
    _Files(folder, f"runs/{run}/data/calls/", run, listing, opened, private, step).write()


def count(listing: Listing) -> int:
    """The items and calls of which `write` tells `step`."""
    return len(listing.frames.items) + len(listing.frames.calls)


@dataclass(frozen=True)
class _Files:
    folder: PublishedFolder
    at: str
    run: str
    listing: Listing
    opened: OpenRun | str
    private: Private
    step: Callable[[int], None]
    asked: set[int] = field(default_factory=set)
    """The calls whose texts are to be written."""

    def write(self) -> None:
        about: dict[str, Any] = {
            "parts": {name: parts.described for name, parts in PARTS.items()}, "states": STATES, "arms": ARMS,
            "missing": self.listing.frames.missing, "has_calls": len(self.listing.frames.calls) > 0,
        }  # fmt: skip
        for of in (ITEMS, CALLS):
            about[of] = self._columns(of)
            places = [Place(self.listing, of, row) for row in self.listing.frame(of).itertuples(index=False)]
            for name, entry in (("cards", self._card), ("details", self._detail)):
                for rows, path in PARTS[name].of(len(places)):
                    self._put(f"{of}/{name}/{path}", [entry(places[row]) for row in rows])
        about["texts"] = self._texts(sorted(self.asked))
        self._put("about.json.gz", about)

    def _columns(self, of: str) -> dict[str, Any]:
        """Write what a list is filtered and sorted by. Returns what is said of it."""
        frame = self.listing.frame(of)
        self._put(f"{of}/ids.json.gz", frame["id"].tolist())
        values = {name: self._coded(f"{of}/{name}.gz", frame[column]) for name, column in _FILTERS.items()}
        for name, column in _NUMBERS.items():
            numbers = frame[column].to_numpy(dtype=np.float64)
            self.folder.put(f"{self.at}{of}/{name}.gz", packed_numbers(numbers)[0])
        return {"n": len(frame), "facets": self.listing.facets(of), "values": values}

    def _coded(self, name: str, column: pd.Series[str]) -> dict[str, Any]:
        codes, texts = pd.factorize(column)
        data, kind = packed_numbers(smallest(codes))
        self.folder.put(self.at + name, data)
        return {"kind": kind, "texts": list(texts)}

    def _card(self, place: Place) -> dict[str, Any]:
        """An item as a list shows it, with its whole window and reason."""
        row = place.row
        return card(self.listing, place.of, row) | {
            "started_at": int(row.started_at) if row.started_at == row.started_at else None,
            "reason": hide(row.reason),
            "window": self.listing.windows.get(row.exemplar_id) if row.exemplar_id else None,
            "explained_unit": row.explained_by.partition("#")[0] or None,
        }

    def _detail(self, place: Place) -> dict[str, Any]:
        """The calls that were made for an item, the items that its page leads to, and its question as it is made again."""
        calls = attempts.ids_of(self.listing, place.of, place.row)
        main = int(place.row.call_id) if place.row.call_id in calls else calls[-1] if calls else None
        others = detail.others(place).tolist()
        first = self._first(place, others)
        made = {"as": first} if first is not None else self._made(place, is_stored=main is not None)
        self.asked.update(calls)
        self.step(1)
        return {"calls": calls, "main": main, "others": others, "made": made}

    def _first(self, place: Place, others: Sequence[int]) -> int | None:
        """The row of the item whose question a call is, if it is told there."""
        items = self.listing.frames.items
        is_told = place.of == CALLS and others and items["call_id"].iloc[others[0]] == place.row.call_id
        return others[0] if is_told else None

    def _made(self, place: Place, *, is_stored: bool) -> dict[str, Any]:
        if isinstance(self.opened, str):
            return {"prompt": None, "why": self.opened}
        try:
            made = detail.rebuilt(place, self.opened)
        except UsageError as error:
            return {"prompt": None, "why": str(error)}
        made["parameters"] = {name: value for name, value in made["parameters"].items() if name not in _SERVER}
        if is_stored and made["prompt"]:  # the prompt that was sent is shown
            made["prompt"] |= {"system": "", "user": ""}
        return made

    def _texts(self, call_ids: list[int]) -> dict[str, Any]:
        """Write calls with their prompts and replies, in the order of their ids. Returns what is said of them."""
        data, kind = packed_numbers(smallest(np.array(call_ids, dtype=np.int64)))
        self.folder.put(f"{self.at}texts/ids.gz", data)
        for rows, path in PARTS["texts"].of(len(call_ids)):
            self._put(f"texts/{path}", [self._call(row) for row in self._stored([call_ids[row] for row in rows])])
        return {"n": len(call_ids), "kind": kind}

    def _stored(self, call_ids: Sequence[int]) -> list[dict[str, Any]]:
        assert self.listing.ledger is not None
        with self.listing.ledger.read() as tx:
            return [dict(row) for row in run_items.call_texts(tx, call_ids)]

    def _call(self, row: dict[str, Any]) -> dict[str, Any]:
        told = attempts.shown(row, self.run, {"system": None, "user": None})
        shown = {name: value for name, value in told.items() if name not in _OF_THE_OWNER}
        return shown | {"started_at": int(row["started_at"])}

    def _put(self, name: str, value: Any) -> None:
        self.folder.put(self.at + name, packed_json(self.private.of(value)))
