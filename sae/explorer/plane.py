"""Lays out a graph of neighbours in the plane, so that a map of it can be drawn: t-SNE with equal weights for all neighbours.

The points pull their neighbours and push all others apart. The push is interpolated on a grid, where it is a convolution (FIt-SNE, Linderman
et al. 2019), so that an iteration takes time in proportion to the number of points. Nothing is drawn by chance after the start. Written
here because openTSNE needs scikit-learn and UMAP numba too, together up to 260 MB, which bind the version of numpy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, sparse

EARLY, LATE = 150, 300
"""Iterations with a stronger pull, which gather the points, and without."""
_EXAGGERATION = 12.0
_SMOOTHINGS = 100
_START = 1e-2
"""Spread of the start, over which the points stay small until they are gathered."""
_SPACING, _MOST_CELLS = 0.5, 512
"""Distance between the nodes of the grid, in units in which neighbours are about 1 apart, and its most cells along one side."""
_LONGEST_STEP = 5.0
_INWARDS = 1e-4
"""Pull to the middle over that of neighbours at a distance of 1. It keeps parts of the graph that nothing joins to the others at its rim."""
_NODES = 4
"""Nodes of the grid along each side between which a point is interpolated, with cubic polynomials."""

Plane = NDArray[np.float32]
Report = Callable[[int, int], None]


def layout(neighbours: NDArray[np.int64], seed: int, report: Report | None = None) -> Plane:
    """Places (n, 2) of n points, given the numbers of the neighbours of each (n, k), which are -1 where there are fewer.

    The points fill about a square around 0. `report` is told how many of how many iterations are done.
    """
    pull = _graph(neighbours)
    n = len(neighbours)
    rows = np.repeat(np.arange(n), np.diff(pull.indptr))
    weights, forces = pull.data.copy(), pull
    at = _start(pull, seed)
    step, gains = np.zeros_like(at), np.ones_like(at)
    for done in range(EARLY + LATE):
        early = done < EARLY
        across = at[rows] - at[pull.indices]
        forces.data = weights / (1 + np.einsum("ij,ij->i", across, across))
        together = forces.sum(axis=1)[:, None] * at - forces @ at
        gradient = 4 * ((_EXAGGERATION if early else 1.0) * together + _INWARDS / n * at - _apart(at))
        gains = np.where((gradient > 0) == (step > 0), 0.8 * gains, gains + 0.2).clip(0.01)
        step = (0.5 if early else 0.8) * step - (n / (_EXAGGERATION if early else 4)) * gains * gradient
        np.clip(step, -_LONGEST_STEP, _LONGEST_STEP, out=step)
        at += step
        at -= at.mean(axis=0)
        if report:
            report(done + 1, EARLY + LATE)
    return at.astype(np.float32)


def _graph(neighbours: NDArray[np.int64]) -> Any:
    """Symmetric weights (n, n) that sum to 1. Each point gives its neighbours equal ones; a neighbour that is named twice counts twice."""
    n, k = neighbours.shape
    known = (neighbours >= 0) & (neighbours != np.arange(n)[:, None])
    own = np.repeat(np.arange(n), k)[known.ravel()]
    one = sparse.coo_array((np.ones(len(own), np.float32), (own, neighbours[known])), shape=(n, n)).tocsr()
    both = (one + one.T).tocsr()
    both.data /= max(float(both.sum()), 1.0)
    return both


def _start(graph: Any, seed: int) -> NDArray[np.float32]:
    """A random place for each point, drawn towards its neighbours' until far parts of the graph are far from each other."""
    at = np.random.default_rng(seed).normal(size=(graph.shape[0], 2)).astype(np.float32)
    walk = sparse.diags_array(1 / np.maximum(graph.sum(axis=1), np.finfo(np.float32).tiny)).astype(np.float32) @ graph
    for _ in range(_SMOOTHINGS):
        at = (at + walk @ at) / 2
        at, _ = np.linalg.qr(at - at.mean(axis=0))
    return np.asarray(_START * at / np.maximum(at.std(axis=0), np.finfo(np.float32).tiny), dtype=np.float32)


def _apart(at: NDArray[np.float32]) -> NDArray[np.float32]:
    """The push on each point (n, 2): the sum over the others of their difference by the square of the kernel 1 / (1 + distance²), over the
    sum of the kernel over all pairs."""
    least = at.min(axis=0)
    span = float((at - least).max())
    spacing = max(_SPACING, span / _MOST_CELLS)
    on_grid = (at - least) / spacing
    side = fft.next_fast_len(2 * (int(span / spacing) + _NODES), real=True)
    onto = _interpolation(on_grid, side)
    charges = np.column_stack([np.ones(len(at), np.float32), on_grid])
    grid = (onto.T @ charges).T.reshape(3, side, side)
    distance = spacing * np.minimum(np.arange(side), side - np.arange(side)).astype(np.float32)
    kernel = 1 / (1 + distance[:, None] ** 2 + distance**2)
    waves, squared = fft.rfft2(grid), fft.rfft2(kernel * kernel)
    near = fft.irfft2(np.concatenate([waves * squared, waves[:1] * fft.rfft2(kernel)]), s=(side, side))
    felt = onto @ near.reshape(4, -1).T.astype(np.float32)
    pairs = max(float(felt[:, 3].sum()) - len(at), 1e-9)  # without each point's own share, about 1
    push: NDArray[np.float32] = spacing * (on_grid * felt[:, :1] - felt[:, 1:3]) / pairs
    return push


def _interpolation(at: NDArray[np.float32], side: int) -> Any:
    """The weights (n, side * side) of the grid's nodes at each point, by Lagrange's cubic polynomials along both sides."""
    cell = np.floor(at)
    t = (at - cell).T
    along = np.stack(
        [-t * (t - 1) * (t - 2) / 6, (t + 1) * (t - 1) * (t - 2) / 2, -(t + 1) * t * (t - 2) / 2, (t + 1) * t * (t - 1) / 6],
        axis=-1,
    )  # fmt: skip
    weights = (along[0][:, :, None] * along[1][:, None, :]).reshape(-1).astype(np.float32)
    offsets = (np.arange(_NODES)[:, None] * side + np.arange(_NODES)).ravel()
    nodes = ((cell[:, 0] * side + cell[:, 1]).astype(np.int32)[:, None] + offsets.astype(np.int32)).ravel()
    starts = np.arange(0, len(weights) + 1, _NODES**2, dtype=np.int32)
    return sparse.csr_array((weights, nodes, starts), shape=(len(at), side * side))
