"""A run's items in memory, read again while the run goes on, and searched."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from autointerp.errors import UsageError
from autointerp.explorer.items import frames
from autointerp.explorer.items.frames import Frames
from autointerp.explorer.items.names import EXPLAIN
from autointerp.explorer.items.query import CALLS, ITEMS, Query, facets, in_order, matches
from autointerp.explorer.items.windows import Windows
from autointerp.explorer.items.words import WordSearch
from autointerp.ledger import run_items, runs
from autointerp.ledger.database import Ledger

MAX_LOAD = 0.1
"""Largest share of the time that reading the items of a live run may take."""
NO_ROWS = np.array([], dtype=np.int64)
READ_S = 0.3
"""How long one request reads prompts and replies."""
_KEPT_RUNS, _KEPT_SEARCHES = 2, 8


class _Shown(NamedTuple):
    """Which of a few texts each row shows: `codes` are places among them, -1 for none."""

    codes: NDArray[np.int64]
    texts: list[str]


class Listing:
    """The items of one run at one moment."""

    def __init__(self, ledger: Ledger | None, read: Frames, windows: Windows) -> None:
        self.ledger, self.frames, self.windows = ledger, read, windows
        self._lock = threading.Lock()
        self._searches: OrderedDict[tuple[str, ...], WordSearch] = OrderedDict()
        self._texts = lru_cache(maxsize=2)(self._read_texts)
        self.facets = lru_cache(maxsize=2)(lambda of: facets(self.frame(of)))
        self._places = lru_cache(maxsize=8)(self._read_places)

    def frame(self, of: str) -> pd.DataFrame:
        """The items or the calls."""
        return self.frames.calls if of == CALLS else self.frames.items

    def find(self, query: Query) -> tuple[NDArray[np.int64], tuple[int, int]]:
        """The rows that a query finds, and of how many calls prompt and reply were read for it so far, and of how many in all."""
        frame = self.frame(query.of)
        found, progress = matches(frame, query), (0, 0)
        if query.words:
            has, progress = self._with_words(frame, query.words)
            found &= has
        return in_order(frame, np.flatnonzero(found), query.sort), progress

    def row(self, item: str) -> tuple[str, int] | None:
        """Whether an id is that of an item or a call, and its row; None for an unknown id."""
        of = CALLS if item.startswith("call-") else ITEMS
        rows = np.flatnonzero((self.frame(of)["id"] == item).to_numpy())
        return (of, int(rows[0])) if len(rows) else None

    def rows_with(self, of: str, **values: str) -> NDArray[np.int64]:
        """The rows of the items or the calls in which any of these columns has its value; an empty value is none."""
        found = [self._places(of, column).get(value, NO_ROWS) for column, value in values.items() if value]
        return np.unique(np.concatenate(found)) if found else NO_ROWS

    def explanation(self, row: Any) -> str | None:
        """The explanation that an item shows the judge, or that it brought."""
        return self.frames.explanations.get(row.explained_by)

    def _with_words(self, frame: pd.DataFrame, words: tuple[str, ...]) -> tuple[NDArray[np.bool_], tuple[int, int]]:
        """The rows that have every word in what the judge was shown or replied, as far as it was read."""
        search, everywhere = self._search(words), np.ones(len(frame), dtype=bool)
        texts, keys = self._texts(frame is self.frames.calls)
        call_ids = frame["call_id"].to_numpy(dtype=np.float64)
        for number, word in enumerate(words):
            with_it = [word in text.casefold() for text in keys.texts]
            here = np.append(np.array(with_it, dtype=bool), False)[keys.codes]  # code -1: no explanation
            here = here | _contains(texts, word) | self.windows.with_word(frame["exemplar_id"], word)
            everywhere &= here | search.among(call_ids, number)
        return everywhere, (search.read, search.of)

    def _read_texts(self, of_calls: bool) -> tuple[pa.Array, _Shown]:
        """Reason, answer and unit of each row as one text, and the explanation that it shows."""
        frame = self.frame(CALLS if of_calls else ITEMS)
        columns = [
            pa.array(frame[name], pa.string(), from_pandas=True).fill_null("")
            for name in ("reason", "answer", "unit_id")
        ]
        codes, keys = pd.factorize(frame["explained_by"])
        texts = [self.frames.explanations.get(key, "") for key in keys]
        return pc.binary_join_element_wise(*columns, "\n"), _Shown(np.asarray(codes, dtype=np.int64), texts)

    def _read_places(self, of: str, column: str) -> Mapping[str, NDArray[np.int64]]:
        """The rows with each value of a column."""
        return {
            str(value): np.asarray(rows, dtype=np.int64)
            for value, rows in self.frame(of).groupby(column).indices.items()
        }

    def _search(self, words: tuple[str, ...]) -> WordSearch:
        with self._lock:
            search = self._searches.pop(words, None)
            if search is None:
                both = pd.concat([self.frames.calls["call_id"], self.frames.items["call_id"].dropna()])
                search = WordSearch(np.unique(both.to_numpy(dtype=np.int64)), words)
            self._searches[words] = search
            while len(self._searches) > _KEPT_SEARCHES:
                self._searches.popitem(last=False)
            if self.ledger is not None and search.read < search.of:
                search.go_on(self.ledger, READ_S)
        return search


class _Known(NamedTuple):
    """A listing, what changes with it, and until when it is shown while its run is live."""

    listing: Listing
    stamp: Any
    until: float


class Listings:
    """The items of the runs that were asked for last. They are read in a thread of their own: a live run's are shown as they were while
    they are read again."""

    def __init__(self, results: Path, ledger: Callable[[], Ledger | None]) -> None:
        self.results, self._known_ledger = results, ledger
        self._kept: OrderedDict[str, _Known] = OrderedDict()
        self._reading: dict[str, Future[Listing]] = {}
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="items")
        self._lock = threading.Lock()

    @property
    def ledger(self) -> Ledger | None:
        """The ledger, if there is one by now."""
        return self._known_ledger()

    def of(self, folder: Path, *, newest: bool = False) -> Listing:
        """The items of the run in a folder: those of a moment ago while it is live, unless `newest`. Raises `UsageError` for an unknown run."""
        known, reading, is_live = self._known(folder, newest)
        if known is not None and (reading is None or (is_live and not newest)):
            return known.listing
        assert reading is not None
        return reading.result()

    def begin(self, folder: Path) -> None:
        """Read the items of a run before they are asked for. Raises `UsageError` for an unknown run."""
        self._known(folder, newest=False)

    def _known(self, folder: Path, newest: bool) -> tuple[_Known | None, Future[Listing] | None, bool]:
        """What is kept of a run, its reading if there is anything to read, and whether the run is live."""
        run_id, (stamp, is_live) = folder.name, self._stamp(folder)
        with self._lock:
            known = self._kept.get(run_id)
            if known is not None:
                self._kept.move_to_end(run_id)
                if known.stamp == stamp or (is_live and not newest and time.monotonic() < known.until):
                    return known, None, is_live
            if run_id not in self._reading:
                self._reading[run_id] = self._reader.submit(self._keep, folder, stamp)
            return known, self._reading[run_id], is_live

    def _keep(self, folder: Path, stamp: Any) -> Listing:
        """Read a run's items, and keep them."""
        began = time.monotonic()
        try:
            listing = self._read(folder)
        except BaseException:
            with self._lock:
                del self._reading[folder.name]
            raise
        ended = time.monotonic()
        with self._lock:
            self._kept[folder.name] = _Known(listing, stamp, ended + (ended - began) / MAX_LOAD)
            self._kept.move_to_end(folder.name)
            while len(self._kept) > _KEPT_RUNS:
                self._kept.popitem(last=False)
            del self._reading[folder.name]
        return listing

    def harvest_of(self, run_id: str) -> Path | None:
        """The folder of a run's harvest, if it lies in the results folder."""
        row = self._row(run_id)
        return self.results / "artifacts" / f"harvest-{row['harvest_key']}" if row and row["harvest_key"] else None

    def is_live(self, run_id: str) -> bool:
        """Whether the run is queued or running."""
        row = self._row(run_id)
        return row is not None and row["state"] in runs.LIVE

    def _row(self, run_id: str) -> Any:
        if self.ledger is None:
            return None
        with self.ledger.read() as tx:
            return runs.get(tx, run_id)

    def _stamp(self, folder: Path) -> tuple[Any, bool]:
        """What changes with the items of a run, and whether the run is live."""
        row = self._row(folder.name)
        if row is None:
            path = folder / frames.JUDGEMENTS
            if not path.is_file():
                raise UsageError(f"there is no run {folder.name} in the ledger or in {self.results}: `autointerp runs` lists them")  # fmt: skip
            return path.stat().st_mtime, False
        assert self.ledger is not None
        with self.ledger.read() as tx:
            return (row["state"], row["updated_at"], run_items.counts(tx, folder.name)), row["state"] in runs.LIVE

    def _read(self, folder: Path) -> Listing:
        run_id = folder.name
        windows = Windows.of_run(folder, self.harvest_of(run_id))
        if self.ledger is None or self._row(run_id) is None:
            return Listing(None, frames.of_files(folder), windows)
        with self.ledger.read() as tx:
            return Listing(self.ledger, frames.of_ledger(tx, run_id), windows)


def _contains(texts: pa.Array, word: str) -> NDArray[np.bool_]:
    """Which texts have a word, upper and lower case alike."""
    return np.asarray(pc.match_substring(texts, word, ignore_case=True).to_numpy(zero_copy_only=False), dtype=bool)


def card(listing: Listing, of: str, row: Any) -> dict[str, Any]:
    """A row of the list as a page shows it."""
    explanation = listing.explanation(row)
    return {
        "id": row.id,
        "kind": row.kind,
        "unit_id": row.unit_id,
        "arm": row.arm,
        "repeat": int(row.repeat) if row.repeat == row.repeat else 0,
        "judge": row.judge,
        "state": row.outcome,
        "grade": row.score,
        "expected": row.expected,
        "answer": row.answer if row.kind != EXPLAIN else None,
        "reason": row.reason[:300],
        "explanation": explanation,
        "window": listing.windows.snippet(row.exemplar_id) if row.exemplar_id else None,
        "asked": row.call_id == row.call_id or of == CALLS,
        "input_tokens": row.input_tokens,
        "cached_tokens": row.cache_read_tokens,
        "output_tokens": row.output_tokens,
        "cost_usd": row.cost_usd,
        "duration_s": row.duration_s,
        "started_at": row.started_at,
    }
