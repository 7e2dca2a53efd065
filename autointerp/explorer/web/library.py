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
        if path != self.main and not self._is_own(path):
            raise UsageError(
                f"{run} is a symbolic link, which the explorer does not follow: name it as `autointerp explore {run}`"
            )
        with self._lock:
            stamp = _stamp(path / name for name in (ABOUT, LABELS, MAP))
            known = self._open.pop(path, None)
            if known is None or known[0] != stamp:
                same_index = known[1] if known is not None and known[0][0] == stamp[0] else None
                known = stamp, Reader(IndexFolder(path), before=same_index)
            self._open[path] = known
            while len(self._open) > _OPEN:
                self._open.popitem(last=False)
        return known[1]

    def __enter__(self) -> Library:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close it, unless after Ctrl-C: reading may take long, and the process ends without it."""
        if kind is None or not issubclass(kind, KeyboardInterrupt):
            self.close()

    def close(self) -> None:
        """Stop reading the indexes that are open."""
        for _, reader in self._open.values():
            reader.close()

    def folder_of(self, run: str) -> Path:
        """The folder of a run. Raises `UsageError` for a name that is no run id."""
        if not _RUN.fullmatch(run) or run.startswith("."):
            raise UsageError(f"{run[:80]!r} is no run id: `autointerp runs` lists them")
        return self.results / run

    def has_index(self, run: str) -> bool:
        """Whether a run has a finished index."""
        folder = self.folder_of(run) / INDEX
        return is_index(folder) and self._is_own(folder)

    def file(self, run: str, name: str) -> Path | None:
        """A file that lies directly in the folder of a run; None if there is none. Raises `UsageError` for a name that is no run id."""
        path = self.folder_of(run) / name
        try:
            own = (
                path.parent == self.folder_of(run)
                and not name.startswith(".")
                and self._is_own(path)
                and path.is_file()
            )
        except (OSError, ValueError):  # a name that no file can have
            return None
        return path if own else None

    def _is_own(self, path: Path) -> bool:
        """Whether something in the results folder is reached without a symbolic link, which could lead to anything on this machine."""
        return path.resolve() == self.results.resolve() / path.relative_to(self.results)


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
