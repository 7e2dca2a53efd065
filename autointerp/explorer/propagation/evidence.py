"""How alike units are in what they write, where they are active and what they promote: the evidence for a propagated explanation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from autointerp.explorer.propagation import neighbour_graph

Scores = NDArray[np.float32]
Rows = NDArray[np.int64]

NAMES = ("directions", "promoted", "marked", "covered", "contexts", "meanings", "together", "graph", "density")
"""Kinds of evidence, in the order of the last axis of scores."""
BLOCK = 1024
"""Units that are compared with all labelled ones at once."""
_RANDOM_UNITS = 1024
_FLOOR = 1e-5
_LEAST_SPREAD = 1e-6


@dataclass(frozen=True)
class Evidence:
    """What is known of N units.

    Rows of `directions` (N, d), `promoted`, `marked`, `contexts` and `meanings` have length 1 or are 0, so that products are cosines.
    `shares` are the rows of `marked` tokens as shares of the activation, by how rare each token is, and `has` says which tokens a unit has.
    `together` (N, N) holds the share of a unit's tokens at which another is active, and `graph` links units with their nearest. `density`
    is the logarithm, to base 10.
    """

    directions: NDArray[np.float32]
    promoted: sparse.csr_array
    marked: sparse.csr_array
    shares: sparse.csr_array
    has: sparse.csr_array
    contexts: sparse.csr_array
    meanings: NDArray[np.float32]
    together: sparse.csr_array
    graph: sparse.csr_array
    density: NDArray[np.float32]

    @classmethod
    def of(
        cls, directions: NDArray[np.float32], promoted: sparse.csr_array, marked: sparse.csr_array, contexts: sparse.csr_array,
        meanings: NDArray[np.float32], nearest: sparse.csr_array, together: sparse.csr_array, density: NDArray[np.floating],
    ) -> Evidence:  # fmt: skip
        """From weights of tokens (N, V), sums of word vectors (N, m), the lists of near features (N, N) and densities (N,)."""
        by_rarity = _rare(marked)
        totals = np.asarray(by_rarity.sum(axis=1)).ravel()
        has = marked.copy()
        has.data = np.ones_like(has.data)
        centred = meanings - meanings[np.any(meanings, axis=1)].mean(axis=0) if np.any(meanings) else meanings
        return cls(
            directions=_unit_rows(directions),
            promoted=_unit_sparse(_rare(promoted)),
            marked=_unit_sparse(by_rarity),
            shares=_scaled(by_rarity, 1 / np.maximum(totals, _LEAST_SPREAD)),
            has=has,
            contexts=_unit_sparse(_rare(contexts)),
            meanings=_unit_rows(np.where(np.any(meanings, axis=1)[:, None], centred, 0)),
            together=together,
            graph=neighbour_graph.of(nearest, together),
            density=np.log10(np.maximum(density, _FLOOR)).astype(np.float32),
        )

    def __len__(self) -> int:
        return len(self.density)

    def has_any(self) -> NDArray[np.bool_]:
        """Which units have any evidence at all: those that are active somewhere."""
        return np.asarray((np.diff(self.marked.indptr) > 0) | (np.diff(self.contexts.indptr) > 0))


class Comparison:
    """Compares units with some labelled ones, the sources.

    Each kind of evidence is told in standard deviations of random pairs of units, as a signed logarithm: what a cosine of 0.3 says depends on
    the width of the model and on the corpus.
    """

    def __init__(self, evidence: Evidence, sources: Rows, seed: int = 0) -> None:
        self.evidence, self.sources = evidence, sources
        self._walk = neighbour_graph.walks(evidence.graph, sources)
        self._source_columns = {
            name: getattr(evidence, name)[sources].T.tocsc() for name in ("promoted", "marked", "has", "contexts")
        }
        self._source_together = evidence.together[:, sources].tocsr()
        rng = np.random.default_rng(seed)
        n = len(evidence)
        self.use_background(rng.choice(n, size=min(n, _RANDOM_UNITS), replace=False))

    def use_background(self, rows: Rows) -> None:
        """Take the pairs of these units with the sources as random pairs."""
        pairs = self._raw(rows)[rows[:, None] != self.sources]
        spread = pairs.std(axis=0) if len(pairs) else np.zeros(len(NAMES), np.float32)
        self._mean = pairs.mean(axis=0) if len(pairs) else spread
        self._spread = np.where(spread > _LEAST_SPREAD, spread, 1).astype(np.float32)

    def scores(self, rows: Rows) -> Scores:
        """The evidence that the explanation of each source is right for each of some units (n, n_sources, n_kinds)."""
        raw = self._raw(rows)
        standard = (raw - self._mean) / self._spread
        scores: Scores = np.sign(standard) * np.log1p(np.abs(standard))
        return scores

    def blocks(self, rows: Rows) -> Iterator[tuple[Rows, Scores]]:
        """The scores of some units, block by block."""
        for at in range(0, len(rows), BLOCK):
            part = rows[at : at + BLOCK]
            yield part, self.scores(part)

    def _raw(self, rows: Rows) -> Scores:
        evidence, sources, columns = self.evidence, self.sources, self._source_columns
        found = np.empty((len(rows), len(sources), len(NAMES)), dtype=np.float32)
        found[..., 0] = evidence.directions[rows] @ evidence.directions[sources].T
        found[..., 1] = (evidence.promoted[rows] @ columns["promoted"]).toarray()
        found[..., 2] = (evidence.marked[rows] @ columns["marked"]).toarray()
        found[..., 3] = (evidence.shares[rows] @ columns["has"]).toarray()
        found[..., 4] = (evidence.contexts[rows] @ columns["contexts"]).toarray()
        found[..., 5] = evidence.meanings[rows] @ evidence.meanings[sources].T
        found[..., 6] = self._source_together[rows].toarray()
        found[..., 7] = np.log10(self._walk[rows].toarray() + _FLOOR)
        found[..., 8] = -np.abs(evidence.density[rows][:, None] - evidence.density[sources])
        return found


def _rare(weights: sparse.csr_array) -> sparse.csr_array:
    """Weights by how rare each column is among the units: its logarithm, as in tf-idf."""
    n = weights.shape[0]
    holders = np.bincount(weights.indices, minlength=weights.shape[1])
    found = weights.astype(np.float32).copy()
    found.data = found.data * np.log((1 + n) / (1 + holders)).astype(np.float32)[found.indices]
    return found


def _unit_rows(matrix: NDArray[np.floating]) -> NDArray[np.float32]:
    length = np.linalg.norm(matrix, axis=1, keepdims=True)
    return (matrix / np.where(length > 0, length, 1)).astype(np.float32)


def _unit_sparse(matrix: sparse.csr_array) -> sparse.csr_array:
    length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return _scaled(matrix, 1 / np.where(length > 0, length, 1))


def _scaled(matrix: sparse.csr_array, by: NDArray[np.floating]) -> sparse.csr_array:
    """Each row by its number."""
    scaled = matrix.copy()
    scaled.data = (scaled.data * np.repeat(by, np.diff(matrix.indptr))).astype(np.float32)
    return scaled
