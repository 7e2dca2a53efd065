"""Bins of activation strength: equal parts of (0, maximum], numbered from 1. Bin 0 is for silent events.

A unit's events are counted in `CELLS` cells, equal parts of (0, s], where the scale s is the power of two at or above the unit's
maximum. A bin is a run of whole cells: its upper edge is rounded up to the end of a cell, by at most 0.2% of the maximum. So each event
is counted in the bin that it is assigned to, however few values the activations take, and an activation that lies on an edge, but for
the rounding of float32, belongs to the bin below.

Needs numpy only, so that statistics can use it without torch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

CELLS = 1024
"""Cells of a unit's histogram for active events. Cell 0 stands for silent events and is not counted."""
FAINTEST = -100
"""Smallest exponent of a unit's scale; its reciprocal still fits into float32."""
_ROUNDING = 1e-6
"""An activation that exceeds an edge by this share is taken to lie on it: some roundings of float32, a thousandth of a cell."""


def edges(maximum: ArrayLike, bins: int) -> NDArray[np.int64]:
    """The last cell of each bin (..., bins + 1), given the units' maxima (...). Bin b has the cells edges[b - 1] + 1 .. edges[b]."""
    in_cells = np.asarray(maximum, dtype=np.float64) / _scale(maximum) * CELLS
    return _edge(in_cells[..., None], np.arange(bins + 1), bins)


def cell_of(activation: ArrayLike, maximum: ArrayLike) -> NDArray[np.int64]:
    """The cell of each activation, 0..CELLS, given its unit's maximum."""
    return np.ceil(np.asarray(activation, dtype=np.float64) / _scale(maximum) * CELLS).astype(np.int64)


def bin_of(activation: ArrayLike, maximum: ArrayLike, bins: int) -> NDArray[np.int64]:
    """The bin of each activation, 0..bins, given its unit's maximum."""
    cell = cell_of(activation, maximum)
    in_cells = np.asarray(maximum, dtype=np.float64) / _scale(maximum) * CELLS
    bin_ = np.zeros(np.broadcast(cell, in_cells).shape, dtype=np.int64)
    for below in range(bins):
        bin_ += cell > _edge(in_cells, below, bins)
    return bin_


def count_per_bin(histogram: NDArray[np.integer], maximum: float, bins: int) -> NDArray[np.int64]:
    """Events in each bin (bins,), from those in each of the cells (CELLS,) of a unit."""
    up_to = np.concatenate([[0], np.cumsum(histogram, dtype=np.int64)])
    return np.asarray(np.diff(up_to[edges(maximum, bins)]))


def events_from(histogram: NDArray[np.integer], maximum: float, activation: float) -> tuple[int, int]:
    """Numbers of a unit's events that are stronger than an activation, and at least as strong, from the events in each of its cells
    (CELLS,). Events of one cell count as equally strong; all active events are stronger than 0, and none is as weak."""
    cell = int(cell_of(activation, maximum))
    return int(histogram[cell:].sum()), int(histogram[max(cell - 1, 0) :].sum())


def _edge(in_cells: ArrayLike, bin_: ArrayLike, bins: int) -> NDArray[np.int64]:
    """The last cell of a bin of a unit whose maximum lies at `in_cells` cells."""
    edge = np.ceil(np.asarray(in_cells) * np.asarray(bin_) / bins * (1 + _ROUNDING))
    return np.asarray(np.minimum(edge, np.ceil(in_cells)), dtype=np.int64)


def _scale(maximum: ArrayLike) -> NDArray[np.float64]:
    mantissa, exponent = np.frexp(np.asarray(maximum, dtype=np.float64))
    # The mantissa lies in [0.5, 1): it is 0.5 for powers of two, which are their own scale.
    return np.exp2(np.maximum(np.where(mantissa == 0.5, exponent - 1, exponent), FAINTEST).astype(np.float64))
