"""Statistics of many units as columns: density, events, maximum, mean and histogram."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sae.harvest.bins import edges


class Statistics(NamedTuple):
    """Columns (U,) of the units of a pass; `histogram` (U, parts) counts the events in equal parts of (0, maximum]."""

    events: NDArray[np.int64]
    density: NDArray[np.float32]
    maximum: NDArray[np.float32]
    mean: NDArray[np.float32]
    histogram: NDArray[np.int64]

    def rows(self, first: int, end: int) -> Statistics:
        """Those of the units from `first` up to `end`."""
        return Statistics._make(column[first:end] for column in self)

    @classmethod
    def joined(cls, parts: Iterable[Statistics]) -> Statistics:
        """Those of several passes, one after another."""
        return cls._make(np.concatenate(columns) for columns in zip(*parts, strict=True))


def statistics(
    cells: NDArray[np.integer],
    maximum: NDArray[np.float32],
    total: NDArray[np.float64],
    n_counted: int,
    parts: int,
) -> Statistics:
    """Statistics from the events in each cell (U, CELLS), the maxima (U,) and sums (U,), and the number of counted tokens.

    The parts of a histogram are runs of whole cells: see `sae.harvest.bins`.
    """
    events = cells.sum(axis=1, dtype=np.int64)
    return Statistics(
        events=events,
        density=(events / max(n_counted, 1)).astype(np.float32),
        maximum=maximum.astype(np.float32),
        mean=(total / np.maximum(events, 1)).astype(np.float32),
        histogram=counts_per_bin(cells, maximum, parts),
    )


def counts_per_bin(cells: NDArray[np.integer], maximum: NDArray[np.float32], bins: int) -> NDArray[np.int64]:
    """Events in each of `bins` equal parts of (0, maximum], (U, bins), from those in each cell (U, CELLS)."""
    counts: NDArray[np.int64] = np.diff(np.take_along_axis(_up_to(cells), edges(maximum, bins), axis=1), axis=1)
    return counts


def priority_limits(
    cells: NDArray[np.integer],
    maximum: NDArray[np.float32],
    threshold: NDArray[np.int32],
    bins: int,
) -> NDArray[np.int32]:
    """Priority (U, bins) up to which every document of a bin is known: the lowest `threshold` (U, strata) of the strata that hold events
    of the bin."""
    up_to, cuts, strata = _up_to(cells), edges(maximum, bins), threshold.shape[1]
    size = cells.shape[1] // strata
    ends = np.arange(1, strata + 1) * size
    limits = np.full((len(cells), bins), np.iinfo(np.int32).max, dtype=np.int32)
    for number in range(bins):
        low = np.maximum(cuts[:, number, None], ends - size)
        high = np.maximum(np.minimum(cuts[:, number + 1, None], ends), low)
        occupied = np.take_along_axis(up_to, high, axis=1) > np.take_along_axis(up_to, low, axis=1)
        limits[:, number] = np.where(occupied, threshold, limits[:, number, None]).min(axis=1)
    return limits


def _up_to(cells: NDArray[np.integer]) -> NDArray[np.int64]:
    """Events up to the end of each cell (U, CELLS + 1), from 0."""
    return np.pad(np.cumsum(cells, axis=1, dtype=np.int64), ((0, 0), (1, 0)))
