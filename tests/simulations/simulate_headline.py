"""Simulation: the headline's intervals cover from 8 to 50 units, with unequal numbers, skewed units and bins that units lack."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from simulations import worlds

from autointerp.records import COMPARED
from autointerp.stats import bin_uniform, comparison, trend
from autointerp.stats.superiority import superiority

BINS, ITEMS, SCALE = 5, 3, (0.0, 3.0)
RUNS = 250
SIZES = [(8, 8), (12, 12), (20, 20), (50, 50), (100, 8), (8, 100)]
OPTIONS = {"confidence": 0.95, "resamples": 1, "seed": 0}


class Truth(NamedTuple):
    """A large sample of one world."""

    tables: dict[str, pd.DataFrame]
    means: dict[str, pd.Series]
    aid: float
    """Mean of `aided` minus the feature's grade."""


@functools.cache
def truth_of(name: str) -> Truth:
    rng = np.random.default_rng(99)
    pair = dict(zip(COMPARED, worlds.PAIRS[name], strict=True))
    large = {kind: worlds.cell_grades(rng, population, 60_000, BINS, ITEMS) for kind, population in pair.items()}
    better = aided(rng, large["feature"]).mean(axis=1) - large["feature"].mean(axis=1)
    return Truth(large, {kind: table.mean() for kind, table in large.items()}, float(better.mean()))


@functools.cache
def true_superiority(name: str, bins: tuple[int, ...]) -> float:
    parts = [truth_of(name).tables[kind][list(bins)].iloc[:2500].to_numpy() for kind in COMPARED]
    value = superiority(*parts, confidence=0.95).p
    assert value is not None
    return value


def aided(rng: np.random.Generator, table: pd.DataFrame) -> pd.DataFrame:
    """Grades under another explanation: the same where it makes no difference, else a grade that is often better."""
    other = rng.binomial(3, 0.6, table.shape) * np.ones_like(table)
    same = np.broadcast_to(rng.random((len(table), 1)) < 0.6, table.shape)
    return table.where(same, other).where(table.notna())


def hit(low: float | None, high: float | None, truth: float) -> float:
    """1 if the interval contains the truth, 0 if not, NaN if there is no interval."""
    return float(low <= truth <= high) if low is not None and high is not None else float("nan")


def one_run(rng: np.random.Generator, name: str, sizes: Sequence[int]) -> dict[str, float]:
    truth, pair = truth_of(name), worlds.PAIRS[name]
    tables = {
        kind: worlds.cell_grades(rng, population, n, BINS, ITEMS).dropna(how="all")
        for kind, population, n in zip(COMPARED, pair, sizes, strict=True)
    }
    grades = bin_uniform.compared_grades(tables)
    bins = list(grades.compared)
    found = comparison.compare_bins(grades, confidence=0.95, scale=SCALE)
    features, neurons = (float(truth.means[kind][bins].mean()) for kind in COMPARED)
    hits = {
        "difference": hit(found.ci_low, found.ci_high, features - neurons),
        "superiority": hit(found.p_superior_ci_low, found.p_superior_ci_high, true_superiority(name, grades.compared)),
    }
    for kind in COMPARED:
        cell = comparison.mean_estimate(tables[kind][BINS], scale=SCALE, **OPTIONS)
        hits[f"last bin of {kind}s"] = hit(cell.ci_low, cell.ci_high, float(truth.means[kind][BINS]))
    change = (aided(rng, tables["feature"]).mean(axis=1) - tables["feature"].mean(axis=1)).to_numpy()
    effect = comparison.mean_estimate(change, scale=(-3.0, 3.0), **OPTIONS)
    hits["aid effect"] = hit(effect.ci_low, effect.ci_high, truth.aid)
    night = trend.mean_change(change)
    hits["trend"] = hit(night.ci_low, night.ci_high, truth.aid)
    return hits


def cover(name: str, sizes: Sequence[int], runs: int, seed: int = 1) -> tuple[dict[str, float], dict[str, float]]:
    """By figure, the share of its intervals that contain the truth, and the share of runs that have one."""
    rng, hits = np.random.default_rng(seed), defaultdict(list)
    for _ in range(runs):
        for figure, value in one_run(rng, name, sizes).items():
            hits[figure].append(value)
    printed = {figure: float(np.isfinite(values).mean()) for figure, values in hits.items()}
    return {figure: float(np.nanmean(values)) for figure, values in hits.items() if printed[figure]}, printed


@pytest.mark.parametrize("name", worlds.PAIRS)
def test_intervals_cover(name: str) -> None:
    for sizes in SIZES:
        found, printed = cover(name, sizes, runs=RUNS)
        words = ", ".join(f"{k} {v:.3f}" + (f" ({printed[k]:.0%})" if printed[k] < 1 else "") for k, v in found.items())
        print(f"\n{name}, {sizes[0]} features and {sizes[1]} neurons: {words}")
        # Three standard errors below .93: the mean of 8 or 12 heavy-tailed units covers .92.
        assert all(share >= 0.93 - 3 * (0.93 * 0.07 / RUNS / max(printed[k], 0.1)) ** 0.5 for k, share in found.items())


ACTIVATIONS = {
    "same": ((0.01, "lognormal"), (0.01, "lognormal")),
    "heavy tails beside half-normal": ((0.01, "lognormal"), (0.01, "half-normal")),
    "rare beside dense": ((0.001, "exponential"), (0.1, "exponential")),
}
"""Density and distribution of the activations of features and of neurons, on 40,000 tokens."""


def graded_by_strength(rng: np.random.Generator, density: float, shape: str, units: int, bins: int) -> pd.DataFrame:
    """Mean grades by bin, where the grade is three times the activation's share of the unit's maximum and nothing else."""
    size = (units, int(40_000 * density))
    activations = {
        "lognormal": lambda: np.exp(1.5 * rng.normal(size=size)),
        "half-normal": lambda: np.abs(rng.normal(size=size)),
        "exponential": lambda: rng.exponential(size=size),
    }[shape]()
    bin_ = np.ceil(bins * activations / activations.max(axis=1, keepdims=True)).astype(int)
    middle = 3 * (np.arange(1, bins + 1) - 0.5) / bins
    has = (bin_[:, :, None] == np.arange(1, bins + 1)).any(axis=1)
    noise = rng.normal(0, 0.2, (units, bins))
    return pd.DataFrame(np.where(has, np.clip(middle + noise, 0, 3), np.nan), columns=range(1, bins + 1))


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("bins", [2, 5, 10, 20])
def test_bins_that_units_lack_make_no_difference(name: str, bins: int) -> None:
    """The headline beside the mean over each unit's own bins, which has the fault."""
    rng, means, hits, own = np.random.default_rng(bins), [], [], []
    for _ in range(60):
        tables = {
            kind: graded_by_strength(rng, *of_kind, 60, bins)
            for kind, of_kind in zip(COMPARED, ACTIVATIONS[name], strict=True)
        }
        found = comparison.compare_bins(bin_uniform.compared_grades(tables), confidence=0.95, scale=SCALE)
        means.append(found.difference)
        hits.append(hit(found.ci_low, found.ci_high, 0))
        own.append(tables["feature"].mean(axis=1).mean() - tables["neuron"].mean(axis=1).mean())
    print(
        f"\n{name}, {bins} bins: {np.mean(means):+.3f}, covers 0 in {np.mean(hits):.0%}; own bins {np.mean(own):+.2f}"
    )
    assert abs(np.mean(means)) < 0.02
    assert np.mean(hits) > 0.85
