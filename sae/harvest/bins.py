"""Bins of activation strength: equal parts of (0, maximum], numbered from 1. Bin 0 is for silent events.

Needs numpy only, so that statistics can use it without torch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def edges(bins: int) -> NDArray[np.float64]:
    """Edges of the bins (bins + 1,), as shares of the maximum. Bin b is (edges[b - 1], edges[b]]."""
    return np.arange(bins + 1) / bins


def bin_of(activation: ArrayLike, maximum: ArrayLike, bins: int) -> NDArray[np.int64]:
    """The bin of each activation, 0..bins, given its unit's maximum: ceil(activation / maximum * bins)."""
    fraction = np.asarray(activation) / np.maximum(
        maximum, 1e-300
    )  # a unit whose maximum is 0 has only activations of 0
    return np.asarray(np.ceil(fraction * bins).astype(np.int64).clip(0, bins))


def count_per_bin(histogram: NDArray[np.integer], maximum: float, scale: float, bins: int) -> NDArray[np.int64]:
    """Events in each bin (bins,), from a finer histogram (cells,) of equal parts of (0, scale], scale >= maximum.

    The events of a cell that straddles an edge are split in proportion. The counts add up to the histogram's.
    """
    if maximum == 0:
        return np.zeros(bins, dtype=np.int64)
    cells = len(histogram)
    cumulative = np.concatenate([[0], np.cumsum(histogram)])
    up_to_edge = np.interp(edges(bins) * maximum / scale * cells, np.arange(cells + 1), cumulative)
    up_to_edge[-1] = histogram.sum()
    return np.asarray(np.diff(np.rint(up_to_edge)).astype(np.int64))


def cells_of_bin(bin_: int, bins: int, maximum: float, scale: float, cells: int) -> slice:
    """The cells of such a histogram that overlap a bin, those that its edges touch to rounding included."""
    low, high = edges(bins)[bin_ - 1 : bin_ + 1] * maximum / scale * cells
    return slice(int(np.floor(low - 1e-6).clip(0)), int(np.ceil(high + 1e-6)))
