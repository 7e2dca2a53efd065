"""Drops documents that repeat an earlier one exactly, while a corpus is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator

import numpy as np

from sae.corpus.documents import Document, TokenIds
from sae.corpus.sources import Piece


class Duplicates:
    """The documents read so far, by hash: about 100 bytes of memory a document.

    A text that comes in several pieces is passed on: its duplicates are found as near-duplicates.
    """

    def __init__(self) -> None:
        self.n_left_out = 0
        self._seen: set[bytes] = set()

    def without(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """The pieces of one source without documents that were read before, from this or another source."""
        first = True
        for document, last in pieces:
            whole, first = first and last, last
            if whole and self._is_duplicate(document):
                self.n_left_out += 1
            else:
                yield document, last

    def _is_duplicate(self, document: Document) -> bool:
        if not document:
            return False
        digest = _digest(document)
        if digest in self._seen:
            return True
        self._seen.add(digest)
        return False


def _digest(document: Document) -> bytes:
    if isinstance(document, str):
        content = document.encode("utf-8", "surrogatepass")
    elif isinstance(document, TokenIds):
        content = np.asarray(document.ids, dtype=np.int64).tobytes()
    else:
        content = json.dumps(document.messages).encode()
    return hashlib.blake2b(content, digest_size=16, key=type(document).__name__.encode()).digest()
