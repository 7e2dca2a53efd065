"""Histograms and limits of many units together are those of each alone."""

from __future__ import annotations

import numpy as np
import pytest

from sae.explorer.statistics import counts_per_bin, priority_limits, statistics
from sae.harvest.bins import CELLS, count_per_bin, edges

HIGHEST = 2**31 - 1


@pytest.fixture(scope="module")
def cells() -> np.ndarray:
    rng = np.random.default_rng(0)
    found = rng.integers(0, 4, (5, CELLS)) * (rng.random((5, CELLS)) < np.array([[1], [0.1], [0.01], [0.5], [0]]))
    found[1, 300:] = 0
    return found


MAXIMUM = np.array([1.0, 0.6, 3.7, 900.0, 0.0], dtype=np.float32)


@pytest.mark.parametrize("bins", [10, 40])
def test_counts_of_bins_are_those_of_each_unit(cells: np.ndarray, bins: int) -> None:
    alone = [count_per_bin(row, float(m), bins) for row, m in zip(cells, MAXIMUM, strict=True)]
    assert counts_per_bin(cells, MAXIMUM, bins).tolist() == np.array(alone).tolist()


def test_a_bin_is_known_up_to_the_lowest_threshold_of_the_strata_that_hold_its_events(cells: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    threshold = rng.integers(-(2**31), HIGHEST, (5, 64)).astype(np.int32)
    found = priority_limits(cells, MAXIMUM, threshold, 10)
    for unit in range(5):
        cuts = edges(MAXIMUM[unit], 10)
        for bin_ in range(10):
            occupied = [cell for cell in range(cuts[bin_], cuts[bin_ + 1]) if cells[unit, cell]]
            assert found[unit, bin_] == min((threshold[unit, cell // 16] for cell in occupied), default=HIGHEST)


def test_a_silent_unit_has_statistics_of_0(cells: np.ndarray) -> None:
    found = statistics(cells, MAXIMUM, np.array([10.0, 1, 1, 1, 0]), 20_000, 40)
    assert (found.events[4], found.density[4], found.mean[4]) == (0, 0, 0)
    assert found.events[0] == cells[0].sum()
    assert found.mean[0] == pytest.approx(10 / cells[0].sum())
    assert found.density[0] == pytest.approx(cells[0].sum() / 20_000)
