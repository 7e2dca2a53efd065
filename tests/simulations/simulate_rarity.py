"""Simulation: intervals of the difference at equal rarity cover, in each level and over all levels; that of bins of (0, max] does not."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from simulations import rarity_worlds
from simulations.rarity_worlds import FEATURES, NEURONS, NULL, Judged, Population

from autointerp.records import COMPARED
from autointerp.stats import comparison, rarity
from autointerp.stats.bin_uniform import Grades
from autointerp.stats.rarity import NUMBERS

PAIRS = {"features above neurons": (FEATURES, NEURONS), "equal at equal rarity": (NULL, NEURONS)}
RUNS = 500


class Coverage(NamedTuple):
    """Shares of runs whose interval contains the truth, of those that have one."""

    overall: float
    levels: list[float]
    without: list[float]
    """Share of runs without an interval, by level."""
    bias: float
    """Mean error of the difference over all levels."""
    width: float
    bin_uniform: float
    """Mean of the bin-uniform difference."""
    true: float
    """Mean of the true difference over the levels compared."""


def grades_of(judged: tuple[Judged, Judged], run: int) -> Grades:
    sums = {
        kind: rarity.Sums(*(part[run] for part in found.sums)) for kind, found in zip(COMPARED, judged, strict=True)
    }
    parts = {kind: pd.DataFrame(rarity.parts(of_kind), columns=list(NUMBERS)) for kind, of_kind in sums.items()}
    graded = {kind: parts[kind].where(of_kind.weight > 0) for kind, of_kind in sums.items()}
    return rarity.level_grades(parts, graded)


def coverage(pair: tuple[Population, Population], n: int, *, runs: int, seed: int = 1) -> Coverage:
    rng = np.random.default_rng(seed)
    truths = np.subtract(*(rarity_worlds.truth(population) for population in pair))
    judged = tuple(rarity_worlds.judged(rng, population, runs, n) for population in pair)
    by_bin = [np.nanmean(found.bins, axis=(0, 1)) for found in judged]
    hits, errors, widths, trues = [], [], [], []
    for run in range(runs):
        grades = grades_of(judged, run)
        row = []
        for levels in (grades.compared, *((level,) for level in NUMBERS)):
            true = float(truths[[level - 1 for level in levels]].mean())
            if not set(levels) <= set(grades.compared):
                row.append(np.nan)
                continue
            found = comparison.compare_bins(grades.only(levels), confidence=0.95, scale=(0.0, 3.0))
            values = (found.difference, found.ci_low, found.ci_high)
            assert None not in values, found.why
            difference, low, high = (float(value or 0.0) for value in values)
            row.append(float(low <= true <= high))
            if len(row) == 1:
                errors.append(difference - true)
                widths.append(high - low)
                trues.append(true)
        hits.append(row)
    table = np.array(hits)
    shares = np.nanmean(table, axis=0)
    return Coverage(
        float(shares[0]),
        shares[1:].tolist(),
        np.isnan(table[:, 1:]).mean(axis=0).tolist(),
        float(np.mean(errors)),
        float(np.mean(widths)),
        float(np.subtract(*by_bin).mean()),
        float(np.mean(trues)),
    )


@pytest.mark.parametrize("n", [20, 50, 100])
@pytest.mark.parametrize("name", PAIRS)
def test_intervals_at_equal_rarity_cover(name: str, n: int) -> None:
    found = coverage(PAIRS[name], n, runs=RUNS)
    levels = ", ".join(f"{share:.3f}" for share in found.levels)
    print(
        f"\n{name}, {n} units: covers {found.overall:.3f} (levels {levels}; without an interval {found.without}), bias"
        f" {found.bias:+.4f}, width {found.width:.2f}; truly {found.true:+.3f}, by bins of (0, max] {found.bin_uniform:+.3f}"
    )
    assert 0.93 <= found.overall <= 0.97
    assert min(found.levels) >= 0.92
