from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp.stats.superiority import superiority


@given(
    st.lists(st.sampled_from([0.0, 0.1 + 0.2, 0.3, 1.5, 3.0]), min_size=3, max_size=12),
    st.lists(st.sampled_from([0.0, 0.3, 1.5, 2.0]), min_size=3, max_size=12),
)
@settings(deadline=None)
def test_superiority_is_mann_whitney_with_ties_half(features: list[float], neurons: list[float]) -> None:
    found = superiority(features, neurons, confidence=0.95)
    pairs = [(round(f, 12) > n) + (round(f, 12) == n) / 2 for f in features for n in neurons]
    assert found.p == pytest.approx(np.mean(pairs))
    assert (found.low is None) == (found.high is None) == bool(found.why)
    mirrored = superiority(neurons, features, confidence=0.95)
    assert mirrored.p == pytest.approx(1 - found.p)
    if found.low is not None:
        assert 0 <= found.low <= found.p <= found.high <= 1
        assert (mirrored.low, mirrored.high) == pytest.approx((1 - found.high, 1 - found.low))


def test_superiority_agrees_with_scipy() -> None:
    rng = np.random.default_rng(3)
    f, n = rng.normal(0.4, 1, 300), rng.normal(0, 2, 250)
    found = superiority(f, n, confidence=0.95)
    assert found.p == pytest.approx(scipy.stats.mannwhitneyu(f, n).statistic / (300 * 250))
    # Brunner-Munzel's statistic is the distance from 1/2 in standard errors, for many units that of this interval.
    error = abs(found.p - 0.5) / abs(scipy.stats.brunnermunzel(f, n).statistic)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.05)


@pytest.mark.parametrize("apart", [1.0, -1.0])
def test_populations_fully_apart_have_a_limit_as_narrow_as_their_numbers_allow(apart: float) -> None:
    few, many = (superiority([apart] * n, [0.0] * n, confidence=0.95) for n in (8, 50))
    limits = [1 - f.low if apart > 0 else f.high for f in (few, many)]
    assert few.p == many.p == (1.0 if apart > 0 else 0.0)
    assert 0.02 < limits[1] < limits[0] < 0.45


def test_a_pair_is_compared_over_the_bins_that_both_have() -> None:
    # Both kinds have grade 0 in the first bin and 3 in the second; the feature lacks the first.
    feature, neuron = np.array([[math.nan, 3.0]]), np.array([[0.0, 3.0]])
    assert superiority(feature, neuron, confidence=0.95).p == 0.5
    assert superiority(np.array([[math.nan, 3.0]]), np.array([[0.0, math.nan]]), confidence=0.95).p is None


def test_units_that_are_all_alike_have_no_interval() -> None:
    found = superiority([1.0] * 9, [1.0] * 9, confidence=0.95)
    assert (found.p, found.low, found.why) == (0.5, None, "no interval: all units have the same mean")
