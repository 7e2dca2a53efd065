"""Simulation: intervals of agreement and of repeatability cover the value of a very large sample, with 8 to 50 units."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from simulations import agreement_worlds, worlds
from simulations.agreement_worlds import WORLDS, World

from autointerp.stats import jackknife
from autointerp.stats.agreement import coefficients
from autointerp.stats.agreement import sums as unit_sums

Floats = NDArray[np.float64]
LEVELS = (0, 1, 2, 3)
UNITS = (8, 12, 20, 50)
CONFIDENCE = 0.95
LARGE = 100_000
"""Number of units whose statistics are taken for the true ones."""
FEW = 0.1
"""If an interval is given in fewer runs than this, its coverage is not asserted: the usual answer is that there is none."""


class Cover(dict[str, tuple[float, float]]):
    """By statistic, the share of intervals that contain the true value, and the share of runs with an interval."""


def _cover(found: Mapping[str, tuple[Floats, jackknife.Limits]], truth: Mapping[str, Floats]) -> Cover:
    shares = Cover()
    for name, (_, (low, high)) in found.items():
        given = np.isfinite(low)
        right = (low <= truth[name] + 1e-9) & (truth[name] - 1e-9 <= high)
        shares[name] = float(right[given].mean()) if given.any() else np.nan, float(given.mean())
    return shares


def cover(world: World, *, units: int, runs: int, large: int = LARGE) -> Cover:
    """Coverage of the intervals of `coefficients.pair`."""
    rng = np.random.default_rng(units)
    truth = unit_sums.pair_figures(agreement_worlds.cells(rng, world, 1, large).sum(axis=1)[0], LEVELS)
    sums = agreement_worlds.cells(rng, world, runs, units)
    spread, weight = unit_sums.pair_spread(sums, LEVELS), sums.sum(axis=-1)
    return _cover(
        coefficients.estimates(sums, lambda s: unit_sums.pair_figures(s, LEVELS), spread, weight, CONFIDENCE), truth
    )


def repeat_sums(rng: np.random.Generator, world: World, runs: int, units: int, repeats: int) -> Floats:
    """Sums (runs, units, 8) of `unit_sums.repeat_terms`, for a judge whose errors are drawn anew with every repeat."""
    exists = agreement_worlds.presence(rng, world, runs, units)
    grades = world.grades(rng, exists.shape)
    given = np.stack([agreement_worlds.judged(rng, grades, world.errors) for _ in range(repeats)], axis=-1).astype(
        float
    )
    times = np.stack([(given == level).sum(axis=-1) for level in LEVELS], axis=-1)
    flip = 1 - (times * (times - 1)).sum(axis=-1) / (repeats * (repeats - 1))
    size = np.full(exists.shape, float(repeats))
    terms = unit_sums.repeat_terms(size, given.mean(axis=-1) - 1.5, given.var(axis=-1, ddof=1), flip)
    return np.asarray((terms * exists[..., None]).sum(axis=-2), dtype=np.float64)


def repeat_cover(world: World, *, units: int, runs: int, repeats: int = 3, large: int = LARGE) -> Cover:
    """Coverage of the intervals of `coefficients.repeats`."""
    rng = np.random.default_rng(units)
    truth = unit_sums.repeat_figures(repeat_sums(rng, world, 1, large, repeats).sum(axis=1)[0])
    sums = repeat_sums(rng, world, runs, units, repeats)
    return _cover(
        coefficients.estimates(sums, unit_sums.repeat_figures, unit_sums.repeat_spread(sums), sums[..., 0], CONFIDENCE),
        truth,
    )


def panel_cover(world: World, *, units: int, runs: int, raters: int = 3, large: int = LARGE) -> Cover:
    """Coverage of the interval of `coefficients.panel`, for raters who err alike."""

    def sums_of(runs: int, units: int) -> tuple[Floats, Floats]:
        exists = agreement_worlds.presence(rng, world, runs, units)
        grades = world.grades(rng, exists.shape)
        given = np.stack([agreement_worlds.judged(rng, grades, world.errors) for _ in range(raters)])
        times = np.stack([(given == level).sum(axis=0) for level in LEVELS], axis=-1).astype(float)
        pairs = times[..., :, None] * times[..., None, :] - np.eye(4) * times[..., None, :]
        pairs = (pairs / (raters - 1)).reshape(*exists.shape, 16) * exists[..., None]
        size, mean = np.full(exists.shape, float(raters)), given.mean(axis=0)
        terms = unit_sums.repeat_terms(size, mean, given.var(axis=0, ddof=1), size) * exists[..., None]
        return pairs.sum(axis=-2), unit_sums.repeat_spread(terms.sum(axis=-2))

    rng = np.random.default_rng(units)
    truth = unit_sums.panel_figures(sums_of(1, large)[0].sum(axis=1)[0], LEVELS)
    sums, spread = sums_of(runs, units)
    weight = sums.sum(axis=-1)
    return _cover(
        coefficients.estimates(sums, lambda s: unit_sums.panel_figures(s, LEVELS), spread, weight, CONFIDENCE), truth
    )


def caught(*, up: float, down: float, items: int, runs: int) -> float:
    """The share of runs in which the interval of the mean error on items of known grade excludes 0, with five items per unit."""
    rng, n = np.random.default_rng(items), 0
    rows = {"item": np.arange(items), "unit_id": np.arange(items) // 5}
    for _ in range(runs):
        truth = rng.permutation(np.arange(items) % 4)
        graded = (("truth", truth), ("judge", worlds.biased(rng, truth, up=up, down=down)))
        scores = pd.concat([pd.DataFrame({**rows, "rater": rater, "score": grades}) for rater, grades in graded])
        error = coefficients.pair(scores, "truth", "judge", grades=LEVELS, confidence=CONFIDENCE).difference
        n += error.ci_low is not None and not error.ci_low <= 0 <= error.ci_high
    return n / runs


def table(simulate: Callable[..., Cover], runs: int, names: Sequence[str] = tuple(WORLDS)) -> pd.DataFrame:
    """One row for each world, number of units and statistic."""
    rows = [
        (name, units, statistic, *shares)
        for name in names
        for units in UNITS
        for statistic, shares in simulate(WORLDS[name], units=units, runs=runs).items()
    ]
    return pd.DataFrame(rows, columns=["world", "units", "statistic", "cover", "given"])


@pytest.mark.parametrize("simulate", [cover, repeat_cover, panel_cover])
def test_intervals_of_agreement_cover(simulate: Callable[..., Cover]) -> None:
    found = table(simulate, runs=2000)
    print(
        f"\n{simulate.__name__}\n"
        + found.pivot(index=["world", "units"], columns="statistic", values="cover").round(3).to_string()
    )
    print(
        "intervals given\n"
        + found.pivot(index=["world", "units"], columns="statistic", values="given").round(2).to_string()
    )
    usual = found.loc[found["given"] >= FEW, "cover"]
    assert usual.min() >= 0.885
    assert (usual >= 0.925).mean() >= 0.94


@pytest.mark.parametrize("items", [100, 200, 400])
def test_planted_items_catch_a_biased_judge(items: int) -> None:
    biased, noisy = (caught(up=up, down=down, items=items, runs=400) for up, down in ((0.3, 0.1), (0.2, 0.2)))
    print(
        f"\n{items} planted items: a judge +1 on 30% and -1 on 10% caught {biased:.3f}, one that errs evenly {noisy:.3f}"
    )
    assert noisy <= 0.08
    assert biased >= {100: 0.7, 200: 0.93, 400: 0.99}[items]
