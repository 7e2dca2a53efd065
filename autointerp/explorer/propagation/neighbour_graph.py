"""Units linked with their nearest, and walks on these links: two units of one family are often linked through others of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

_STAY = 0.85
"""Share of a walk that goes on at each step."""
_STEPS = 12
_SOURCES_AT_ONCE = 128
_LEAST = 1e-5
"""Smaller shares of a walk are left out."""
_LARGE, _LEAST_LARGE = 16_384, 1e-4
"""Units of a large graph, and the smallest share of a walk in it."""


def of(nearest: sparse.csr_array, together: sparse.csr_array) -> sparse.csr_array:
    """The links (N, N): larger of the cosine and the share at which one is active with the other, normalised on both sides, so that a
    unit that is near to many says little of each."""
    links = nearest.maximum(together).maximum(0).tocsr()
    links = links.maximum(links.T).tocsr()
    links.setdiag(0)
    links.eliminate_zeros()
    degree = np.asarray(links.sum(axis=1)).ravel()
    scale = sparse.diags_array(1 / np.sqrt(np.where(degree > 0, degree, 1)))
    return (scale @ links @ scale).tocsr().astype(np.float32)


def walks(graph: sparse.csr_array, sources: NDArray[np.int64]) -> sparse.csr_array:
    """How much of a walk from each source is at each unit (N, n_sources): (1 - a) (I - a S)^-1 in its first terms, a random walk with
    restart (Zhou et al. 2004, *Learning with local and global consistency*).

    In a large graph shares below `_LEAST_LARGE` are dropped at every step, so that a walk costs no more than in a small one (Andersen, Chung and
    Lang 2006, *Local graph partitioning using PageRank vectors*).
    """
    n = graph.shape[0]
    step = _dense if n <= _LARGE else _pruned
    parts = [step(graph, sources[at : at + _SOURCES_AT_ONCE]) for at in range(0, len(sources), _SOURCES_AT_ONCE)]
    return sparse.hstack(parts, format="csr") if parts else sparse.csr_array((n, 0), dtype=np.float32)


def _dense(graph: sparse.csr_array, own: NDArray[np.int64]) -> sparse.csc_array:
    start = np.zeros((graph.shape[0], len(own)), dtype=np.float32)
    start[own, np.arange(len(own))] = 1 - _STAY
    walk = start
    for _ in range(_STEPS):
        walk = start + _STAY * (graph @ walk)
    return sparse.csc_array(np.where(walk < _LEAST, 0, walk))


def _pruned(graph: sparse.csr_array, own: NDArray[np.int64]) -> sparse.csc_array:
    """Rows are walks here, so that each is spread over the links of the few units where it is."""
    share = np.full(len(own), 1 - _STAY, dtype=np.float32)
    start = sparse.csr_array((share, (np.arange(len(own)), own)), shape=(len(own), graph.shape[0]))
    walk = start
    for _ in range(_STEPS):
        walk = (start + _STAY * (walk @ graph)).tocsr()
        walk.data[walk.data < _LEAST_LARGE] = 0
        walk.eliminate_zeros()
    return walk.T.tocsc()
