"""The ledger of a results folder as the pages know it: none at first, until a note or another program makes it."""

from __future__ import annotations

import threading
from pathlib import Path

from autointerp.ledger.database import FILE, Ledger
from autointerp.places import open_folder
from autointerp.settings import Settings


class KnownLedger:
    """`given` is open already, and closed by its owner. Without it, a ledger that another program makes later is opened unless it is `fixed`
    that there is none. Threads may share it."""

    def __init__(self, results: Path, given: Ledger | None, *, fixed: bool = False) -> None:
        self._results, self._given, self._fixed = results, given, fixed
        self._ledger = given
        self._lock = threading.Lock()

    def __call__(self) -> Ledger | None:
        """The ledger, if there is one. Raises `UsageError` if it cannot be opened."""
        if self._ledger is None and not self._fixed and (self._results / FILE).exists():
            return self._opened()
        return self._ledger

    def to_write(self) -> Ledger:
        """The ledger, which is made if there is none. Raises `UsageError` and `PlaceFailed` if it cannot be."""
        if self._ledger is None:
            open_folder(self._results)
        return self._opened()

    def _opened(self) -> Ledger:
        with self._lock:
            if self._ledger is None:
                self._ledger = Ledger.in_folder(self._results, Settings.from_env().given_ledger)
            return self._ledger

    def close(self) -> None:
        """Close the ledger, if it was opened here."""
        if self._ledger is not None and self._ledger is not self._given:
            self._ledger.close()
