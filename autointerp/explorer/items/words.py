"""Finds words in the prompts and replies of a run's calls, a part of them at each request, so that no request waits for all."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autointerp.ledger import run_items
from autointerp.ledger.database import Ledger

AT_ONCE = 2_000
"""Calls that one statement reads."""


class WordSearch:
    """A search through the texts of calls, which goes on where it stopped. `has` holds the ids of the calls with each word."""

    def __init__(self, call_ids: NDArray[np.int64], words: Sequence[str]) -> None:
        self._left, self.words = call_ids, tuple(words)
        self.of = len(call_ids)
        self._found: list[list[int]] = [[] for _ in words]

    @property
    def read(self) -> int:
        """How many calls were read so far."""
        return self.of - len(self._left)

    def go_on(self, ledger: Ledger, seconds: float) -> None:
        """Read more calls, for about this long."""
        until = time.monotonic() + seconds
        with ledger.read() as tx:
            while len(self._left) and time.monotonic() < until:
                some, self._left = self._left[:AT_ONCE], self._left[AT_ONCE:]
                for call_id, *flags in run_items.with_words(tx, some.tolist(), self.words):
                    for found, flag in zip(self._found, flags, strict=True):
                        if flag:
                            found.append(call_id)

    def among(self, call_ids: NDArray[np.float64], word: int) -> NDArray[np.bool_]:
        """Which calls, given by id or not-a-number, have word number `word`."""
        return np.isin(call_ids, np.array(self._found[word], dtype=np.float64))
