"""The documents of a corpus after reading: a near-duplicate belongs to the document that it resembles, and a document that makes up
much of the corpus counts as several.

Documents are the units by which text is divided between explaining and judging. So two documents must not share their text, and there
must be enough of them.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sae.corpus.near_duplicates import near_duplicates

LARGEST = 1 / 16
"""A document with more than this share of a corpus's tokens is cut into pieces, each a document of its own."""
LEAST_CUT = 1024
"""Tokens of the shortest document that is cut."""
PIECE = 1 / 64
"""Share of the corpus's tokens in a piece."""
GAP = 1
"""Contexts between two pieces, which belong to neither and are not read."""


class Contents(NamedTuple):
    """How the documents that were read became those of the corpus.

    `duplicates` were equal to an earlier document and are left out; `near_duplicates` count as one document with the text that they
    resemble; `cut` were cut into `pieces`.
    """

    duplicates: int = 0
    near_duplicates: int = 0
    cut: int = 0
    pieces: int = 0

    @property
    def statement(self) -> str:
        """What was done, in one line."""
        done = [f"{_documents(self.duplicates, 'duplicate')} left out"] if self.duplicates else []
        if self.near_duplicates:
            near = _documents(self.near_duplicates, "near-duplicate")
            done.append(f"{near} counted as one document with the text that they resemble")
        cut = [f"{_documents(self.cut, 'long document')} cut into {self.pieces:,} pieces"] if self.cut else []
        return "; ".join([", ".join(done) or "no duplicates", *cut])


def distinct_documents(
    tokens: npt.NDArray[np.uint32], contexts: npt.NDArray[np.void], duplicates: int
) -> tuple[npt.NDArray[np.void], npt.NDArray[np.int64], Contents]:
    """The contexts with their final documents and positions, the documents' keys (n_documents,), and the numbers of both steps.

    A key is a hash of the document's text, for near-duplicates the lowest of theirs. It does not depend on other documents.
    """
    if not len(contexts):
        return contexts, np.zeros(0, np.int64), Contents(duplicates)
    contexts, cut, pieces = _cut(contexts)
    order = np.lexsort((contexts["position"], contexts["document"]))
    ordered = contexts[order]
    cluster = near_duplicates(tokens, ordered)
    keys = np.full(cluster.max() + 1, np.iinfo(np.int64).max)
    np.minimum.at(keys, cluster, _keys(tokens, ordered))
    # Near-duplicates follow one another in their common document, so (document, position) remains unique.
    ordered["document"] = cluster[ordered["document"]]
    by_document = np.argsort(ordered["document"], kind="stable")
    length = ordered["length"][by_document].astype(np.int64)
    start = length.cumsum() - length
    first = np.flatnonzero(np.diff(ordered["document"][by_document], prepend=-1))
    start -= np.repeat(start[first], np.diff(np.append(first, len(start))))
    ordered["position"][by_document] = start
    contexts[order] = ordered
    return contexts, keys, Contents(duplicates, len(cluster) - len(keys), cut, pieces)


def _cut(contexts: npt.NDArray[np.void]) -> tuple[npt.NDArray[np.void], int, int]:
    """The contexts with long documents cut into pieces, without the gaps; numbers of documents cut and of pieces."""
    document = contexts["document"]
    size = np.bincount(document, weights=contexts["length"])
    long = np.flatnonzero((size > max(LARGEST * size.sum(), LEAST_CUT)) & (np.bincount(document) > 1))
    kept = np.ones(len(contexts), dtype=bool)
    piece = np.zeros(len(contexts), dtype=np.int64)
    for number in long:
        rows = np.flatnonzero(document == number)  # in order of position, as they were written
        together = max(1, int(PIECE * size.sum() / contexts["length"][rows[0]]))
        piece[rows], place = np.divmod(np.arange(len(rows)), together + GAP)
        kept[rows[place >= together]] = False
    contexts, piece = contexts[kept], piece[kept]
    _, renumbered = np.unique(np.stack([contexts["document"], piece], axis=1), axis=0, return_inverse=True)
    pieces = int(sum(piece[contexts["document"] == number].max() + 1 for number in long))
    contexts["document"] = renumbered
    return contexts, len(long), pieces


def _keys(tokens: npt.NDArray[np.uint32], contexts: npt.NDArray[np.void]) -> npt.NDArray[np.int64]:
    """CRC-32 of each document's tokens (n,). The contexts are ordered by document and position."""
    keys = [0] * (int(contexts["document"][-1]) + 1)
    columns = (contexts[name].tolist() for name in ("document", "offset", "length"))
    for document, offset, length in zip(*columns, strict=True):
        keys[document] = zlib.crc32(tokens[offset : offset + length].data, keys[document])
    return np.array(keys, dtype=np.int64)


def _documents(n: int, name: str) -> str:
    return f"{n:,} {name}{'' if n == 1 else 's'}"
