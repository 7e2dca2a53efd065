"""Simulation: intervals of agreement cover the value of a very large sample, for 50 to 100 units and a judge that errs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from simulations import worlds

from autointerp.stats import agreement

FIGURES = ("exact", "kappa", "ac2", "alpha", "difference")
OPTIONS = {"grades": (0, 1, 2, 3), "confidence": 0.95}


def _pair(rng: np.random.Generator, units: int, per_unit: int, **options) -> agreement.Agreement:
    grades = worlds.draw(rng, worlds.FEATURES, units, 1, per_unit)[0][:, 0]
    unit = np.repeat(np.arange(units), per_unit)
    rows = {"item": np.arange(unit.size), "unit_id": unit}
    a, b = (
        pd.DataFrame({**rows, "rater": rater, "score": scores.ravel()})
        for rater, scores in (("a", grades), ("b", worlds.biased(rng, grades)))
    )
    return agreement.pair(pd.concat([a, b]), "a", "b", **OPTIONS, **options)


def cover(*, units: int, per_unit: int, runs: int, resamples: int = 1000, large: int = 200_000) -> dict[str, float]:
    """The share of intervals that contain the statistic of `large` units, by statistic."""
    rng = np.random.default_rng(units)
    truth = _pair(rng, large, per_unit, resamples=2, seed=0)
    hits = dict.fromkeys(FIGURES, 0)
    for run in range(runs):
        small = _pair(rng, units, per_unit, resamples=resamples, seed=run)
        for name in FIGURES:
            figure = getattr(small, name)
            assert figure.ci_low is not None
            hits[name] += figure.ci_low <= getattr(truth, name).value <= figure.ci_high
    return {name: n / runs for name, n in hits.items()}


def caught(*, up: float, down: float, items: int, runs: int, resamples: int = 1000) -> float:
    """The share of runs in which the interval of the mean error on items of known grade excludes 0, with five items per unit."""
    rng, n = np.random.default_rng(items), 0
    rows = {"item": np.arange(items), "unit_id": np.arange(items) // 5}
    for run in range(runs):
        truth = rng.permutation(np.arange(items) % 4)
        graded = (("truth", truth), ("judge", worlds.biased(rng, truth, up=up, down=down)))
        scores = pd.concat([pd.DataFrame({**rows, "rater": rater, "score": grades}) for rater, grades in graded])
        error = agreement.pair(scores, "truth", "judge", **OPTIONS, resamples=resamples, seed=run).difference
        n += error.ci_low is not None and not error.ci_low <= 0 <= error.ci_high
    return n / runs


@pytest.mark.parametrize(("units", "per_unit"), [(50, 1), (100, 1), (60, 3)])
def test_intervals_of_agreement_cover(units: int, per_unit: int) -> None:
    found = cover(units=units, per_unit=per_unit, runs=2000)
    print(f"\nagreement, {units} units of {per_unit}: " + ", ".join(f"{k} {v:.3f}" for k, v in found.items()))
    assert all(0.92 <= share <= 0.975 for share in found.values())


@pytest.mark.parametrize("items", [100, 200, 400])
def test_planted_items_catch_a_biased_judge(items: int) -> None:
    biased, noisy = (caught(up=up, down=down, items=items, runs=1000) for up, down in ((0.3, 0.1), (0.2, 0.2)))
    print(
        f"\n{items} planted items: a judge +1 on 30% and -1 on 10% caught {biased:.3f}, one that errs evenly {noisy:.3f}"
    )
    assert noisy <= 0.08
    assert biased >= {100: 0.7, 200: 0.93, 400: 0.99}[items]
