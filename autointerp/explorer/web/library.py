"""The indexes of a results folder, opened when a page asks for them."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from autointerp.errors import UsageError
from autointerp.explorer.index.folder import ABOUT, LABELS, MAP, IndexFolder
from autointerp.explorer.search.reader import Reader

INDEX = "index"
"""Name of the index's folder in the folder of a run."""
_OPEN = 3
"""Indexes that are kept in memory."""
_RUN = re.compile(r"[\w.+-]{1,200}")
"""Run ids. The folder of a run is never outside the results folder."""
Stamp = tuple[float, ...]


class Library:
    """Open indexes: `main` is the folder of the one that the explorer was started on, None for none; the others are those of runs.

    An index whose files have changed is opened again.
    """

    def __init__(self, results: Path, main: Path | None) -> None:
        self.results, self.main = results, main
        self._open: OrderedDict[Path, tuple[Stamp, Reader]] = OrderedDict()
        self._lock = threading.Lock()

    def reader(self, run: str | None) -> Reader:
        """The index of a run, or the main one for None. Raises `UsageError` if there is none."""
        path = self.main if run is None else self.folder_of(run) / INDEX
        if path is None:
            raise UsageError("the explorer was started without an index: open one from the list of runs")
        with self._lock:
            stamp = _stamp(path / name for name in (ABOUT, LABELS, MAP))
            known = self._open.pop(path, None)
            if known is None or known[0] != stamp:
                known = stamp, Reader(IndexFolder(path))
            self._open[path] = known
            while len(self._open) > _OPEN:
                self._open.popitem(last=False)
        return known[1]

    def folder_of(self, run: str) -> Path:
        """The folder of a run. Raises `UsageError` for a name that is no run id."""
        if not _RUN.fullmatch(run) or run.startswith("."):
            raise UsageError(f"{run[:80]!r} is no run id: `autointerp runs` lists them")
        return self.results / run

    def has_index(self, run: str) -> bool:
        """Whether a run has a finished index."""
        return is_index(self.folder_of(run) / INDEX)


def is_index(folder: Path) -> bool:
    """Whether a folder holds a finished index."""
    return IndexFolder(folder).is_finished()


def _stamp(paths: Iterable[Path]) -> Stamp:
    """When files were last changed; 0 for a missing one."""
    times = []
    for path in paths:
        times.append(0.0)
        with suppress(OSError):
            times[-1] = path.stat().st_mtime
    return tuple(times)
