from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp.stats import means

SCALE = (0.0, 3.0)


def test_without_a_scale_and_with_equal_numbers_the_difference_has_welchs_interval() -> None:
    rng = np.random.default_rng(0)
    f, n = rng.uniform(0, 1, 400), rng.uniform(0, 1, 400)
    found = means.difference_limits(f, n, confidence=0.95, scale=None)
    welch = scipy.stats.ttest_ind(f, n, equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((welch.low, welch.high), rel=1e-3)


@given(st.lists(st.integers(0, 12), min_size=3, max_size=20))
@settings(max_examples=50)
def test_limits_stay_on_the_scale_and_hold_the_mean(twelfths: list[int]) -> None:
    values = np.array(twelfths) / 4
    found = means.mean_limits(values, confidence=0.95, scale=SCALE)
    if np.ptp(values) == 0:
        assert found.low is None
        assert "the same value" in str(found.why)
        return
    assert 0 <= found.low < values.mean() < found.high <= 3
    mirrored = means.mean_limits(3 - values, confidence=0.95, scale=SCALE)
    assert (mirrored.low, mirrored.high) == pytest.approx((3 - found.high, 3 - found.low))


def test_an_interval_near_an_end_reaches_farther_away_from_it() -> None:
    values = np.array([0.0] * 25 + [0.5] * 5 + [3.0] * 3)
    found = means.mean_limits(values, confidence=0.95, scale=SCALE)
    assert found.high - values.mean() > 1.3 * (values.mean() - found.low)


def test_degrees_of_freedom_follow_the_units_that_carry_the_spread() -> None:
    even = means.spread(np.linspace(0, 3, 40))
    few = means.spread(np.array([0.0] * 37 + [3.0] * 3))
    assert 30 < even.freedom <= 39
    assert few.freedom < 8, "three units differ from 37"


def test_a_small_sample_decides_the_freedom_beside_a_large_one() -> None:
    rng = np.random.default_rng(1)
    many, eight = rng.normal(1.5, 0.5, 100), rng.normal(1.5, 0.05, 8)
    found = means.difference_limits(many, eight, confidence=0.95, scale=SCALE)
    assert found.freedom < 9, "the eight seem to have hardly any spread, which eight units cannot show"


def test_without_a_scale_eight_units_against_a_hundred_have_no_interval() -> None:
    rng = np.random.default_rng(1)
    found = means.difference_limits(rng.normal(size=100), rng.normal(size=8), confidence=0.95, scale=None)
    assert (found.low, found.why) == (None, "no interval: 100 units of one kind against 8 of the other are too few")


def test_samples_that_tell_nothing_of_their_spread_have_no_interval() -> None:
    few = means.difference_limits([1.0, 2.0], [0.0, 1.0, 2.0, 3.0], confidence=0.95, scale=SCALE)
    alike = means.difference_limits([1.0] * 5, [2.0] * 4, confidence=0.95, scale=SCALE)
    assert (few.low, few.why) == (None, "no interval: fewer than 3 units of one kind")
    assert alike.low is None
    assert "all 5 units of one kind have the same value" in str(alike.why)


def test_units_that_are_all_alike_could_hide_rare_ones() -> None:
    varied = np.linspace(1, 3, 20)
    found = [means.difference_limits(varied, [0.0] * n, confidence=0.95, scale=SCALE) for n in (8, 50)]
    assert found[0].low < found[1].low < 2 < found[1].high
    binomial = scipy.stats.binomtest(0, 50).proportion_ci(0.95, method="exact").high
    assert 2 - found[1].low > 3 * binomial


@pytest.mark.parametrize(("n_features", "n_neurons"), [(8, 8), (20, 20), (100, 8)])
def test_differences_of_heavy_tailed_units_cover(n_features: int, n_neurons: int) -> None:
    """Lognormal unit means cut off at 3: a BCa interval covers .91 of 8 against 8, and .87 of 100 against 8."""
    rng, runs = np.random.default_rng(n_features), 300
    draws = [np.minimum(0.4 * np.exp(1.2 * rng.normal(size=(runs, n))), 3) for n in (n_features, n_neurons)]
    found = [means.difference_limits(f, n, confidence=0.95, scale=SCALE) for f, n in zip(*draws, strict=True)]
    assert 0.9 <= np.mean([limits.low <= 0 <= limits.high for limits in found]) <= 0.985
