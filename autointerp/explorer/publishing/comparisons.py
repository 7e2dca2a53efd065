"""Comparisons between the published indexes as files, whose lists a browser searches: `static/published_pairs.js` reads them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.applications import Starlette

from autointerp.explorer.comparison import elsewhere, files
from autointerp.explorer.comparison.listing import FAMILIES, SHOWN, USUAL, Listing
from autointerp.explorer.comparison.opened import Comparisons
from autointerp.explorer.publishing import answers
from autointerp.explorer.publishing.folder import PublishedFolder
from autointerp.explorer.publishing.packing import packed_json, packed_numbers, smallest
from autointerp.explorer.publishing.published import Published, PublishedLibrary
from autointerp.explorer.search.reader import Reader
from autointerp.progress import Progress

_EVERY_S = 0.2


class PublishedComparisons:
    """The comparisons between published indexes. Each index is compared with those of runs."""

    def __init__(self, app: Starlette, library: PublishedLibrary, indexes: Sequence[Published]) -> None:
        self._app, self._library, self._indexes = app, library, indexes
        self._comparisons: Comparisons = app.state.comparisons
        self._failed: dict[frozenset[Published], str] = {}

    def compute(self, progress: Progress) -> None:
        """Compute the comparisons that are not there. One that fails is said, and published with the reason."""
        for one, other in combinations(self._indexes, 2):
            error = self._compute(self._library.of(one), self._library.of(other), progress)
            if error:
                self._failed[frozenset((one, other))] = error
                progress.note(f"{one.name} and {other.name} are published without their comparison: {error}")

    def _compute(self, own: Reader, other: Reader, progress: Progress) -> str:
        """Compute a comparison unless it is there. Returns why it failed, or an empty text."""
        self._comparisons.ask(own, other)
        ended = False
        while (state := self._comparisons.of(own, other)[1])["state"] not in ("done", "failed"):
            if ended and state["state"] == "new":
                return "the results of the runs changed meanwhile: publish them again"
            ended = state["state"] == "new"  # it may have ended between the look at its files and that at its job
            if state["state"] == "running":
                progress.update(state["phase"], state["done"], state["total"])
            time.sleep(_EVERY_S)
        return str(state.get("error", ""))

    def write(self, folder: PublishedFolder, own: Published) -> None:
        """Write the comparisons of an index, and the list of them."""
        at, others = f"{own.at}data/compare/", list(self._others(own))
        folder.put(f"{at}runs.json.gz", packed_json({"runs": [{"run": each.run, "index": True} for each in others]}))
        for other in others:
            answer = answers.data(self._app, f"{own.live}api/compare?with={other.run}")
            if answer["state"] != "done":
                error = self._failed.get(frozenset((own, other)), "it is not computed")
                answer |= {"state": "failed", "error": error}
            for side, index in zip(answer["sides"], (own, other), strict=True):
                side["base"] = own.to(index)
            listing = self._listing(own, other)
            matches = _write_lists(folder, f"{at}{other.run}/", listing) if listing else None
            about = self._library.private.of({**answer, "matches": matches})
            folder.put(f"{at}{other.run}/about.json.gz", packed_json(about))

    def elsewhere(self, own: Published) -> Callable[[int], list[dict[str, Any]]]:
        """A function that finds the matches of a feature in the other published indexes, as a unit's page shows them."""
        known = [(other, listing) for other in self._others(own) if (listing := self._listing(own, other))]
        tables = [files.table(own.index, listing.pairs.matching.other) for _, listing in known]

        def found(row: int) -> list[dict[str, Any]]:
            return [
                {
                    "run": other.run,
                    "base": own.to(other),
                    "relation": listing.pairs.matching.relation,
                    **elsewhere.named(table.slice(row, 1).to_pylist()[0], _labels_in(listing.pairs.other.reader)),
                }
                for (other, listing), table in zip(known, tables, strict=True)
                if row < len(table)
            ]

        return found

    def _others(self, own: Published) -> Iterator[Published]:
        return (each for each in self._indexes if each != own and each.run is not None)

    def _listing(self, own: Published, other: Published) -> Listing | None:
        """The matched pairs; None if features cannot be matched, or if the comparison failed."""
        opened, state = self._comparisons.of(self._library.of(own), self._library.of(other))
        return opened.listing if state["state"] == "done" else None


def _labels_in(reader: Reader) -> Callable[[list[int]], dict[int, dict[str, Any]]]:
    def labels(rows: list[int]) -> dict[int, dict[str, Any]]:
        names = {row: reader.name(row) for row in rows}
        return {row: {key: name[key] for key in ("explanation", "grade")} for row, name in names.items()}

    return labels


def _write_lists(folder: PublishedFolder, at: str, listing: Listing) -> dict[str, Any]:
    """Write the columns of every list below `at`. Returns what is said of them."""
    pairs, lists = listing.pairs, {}
    for show, entries_of in SHOWN.items():
        entries = entries_of(pairs)
        shared, compared = pairs.shared(entries)
        arrays: dict[str, NDArray[Any]] = {
            "own": entries.own.astype(np.int32),
            "other": entries.other.astype(np.int32),
            "cosine": entries.cosine.astype(np.float32),
            "similarity": pairs.similarity(entries),
            "ratio": pairs.ratio(entries, "density"),
            "rise": pairs.ratio(entries, "maximum"),
            "shared": shared.astype(np.int32),
            "compared": compared.astype(np.int32),
        }
        if show in FAMILIES:
            arrays |= {"place": smallest(entries.place), "family": smallest(entries.family)}
        columns = {}
        for name, values in arrays.items():
            data, columns[name] = packed_numbers(values)
            folder.put(f"{at}{show}/{name}.gz", data)
        lists[show] = {"n": len(entries), "columns": columns}
    grades = pairs.matching.grades
    return {"lists": lists, "usual": USUAL, "changed": grades.changed if grades and pairs.same else {}}
