"""The logistic curve of presence: its interval covers the midpoint, is open where the data do not limit it, and heeds repeated concepts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulations.presence_worlds import Concepts, coverage, repeated

from autointerp.stats.presence_curve import fit

X = np.linspace(-8, -3, 60)


@pytest.mark.parametrize("world", [Concepts(60, slope=2.0), Concepts(33, slope=4.0)])
def test_the_interval_covers_the_midpoint(world: Concepts) -> None:
    assert 0.92 <= coverage(world, runs=300, seed=1).share <= 0.99


def test_repeated_concepts_are_no_independent_evidence() -> None:
    found = repeated(n=50, dictionaries=3, spread=0.7, runs=60, seed=2)
    assert found.grouped >= 0.9
    assert found.independent < found.grouped


def test_the_midpoint_is_that_of_a_clear_curve() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-8, -3, 4000)
    curve = fit(x, rng.random(4000) < 1 / (1 + np.exp(-3 * (x + 5.5))))
    assert curve.midpoint == pytest.approx(-5.5, abs=0.1)
    assert curve.slope == pytest.approx(3, rel=0.1)
    assert curve.at([-5.5]) == pytest.approx(0.5, abs=0.1)


def test_concepts_that_a_frequency_separates_have_a_closed_interval_around_the_gap() -> None:
    curve = fit(X, X > -5)
    assert curve.shape == "separated"
    assert curve.midpoint == pytest.approx(-5, abs=0.1)
    assert -5.5 < curve.low < -5 < curve.high < -4.5


def test_the_interval_is_open_where_all_are_present_or_absent() -> None:
    present, absent = fit(X, np.ones(60, dtype=bool)), fit(X, np.zeros(60, dtype=bool))
    assert (present.shape, present.midpoint, present.low) == ("all_present", None, -np.inf)
    assert present.high < X.min() + 1
    assert (absent.shape, absent.high) == ("all_absent", np.inf)
    assert absent.low > X.max() - 1


@pytest.mark.parametrize("present", [X < -5, np.arange(60) % 2 == 0])
def test_the_interval_is_open_on_both_sides_without_a_slope(present: np.ndarray) -> None:
    curve = fit(X, present)
    assert not curve.is_closed
    assert curve.low == -np.inf


def test_a_few_concepts_limit_nothing() -> None:
    assert fit([], []).shape == "no_data"
    for present in ([True], [False]):
        curve = fit([-4.0], present)
        assert (curve.low, curve.high, curve.midpoint) == (-np.inf, np.inf, None)
    assert fit([-4.0, -4.0, -4.0], [True, False, False]).midpoint is None


@settings(max_examples=8)
@given(st.integers(0, 2**32 - 1), st.floats(-3, 3))
def test_a_shift_of_the_frequencies_shifts_midpoint_and_interval(seed: int, shift: float) -> None:
    rng = np.random.default_rng(seed)
    x = rng.uniform(-8, -3, 20)
    present = rng.random(20) < 1 / (1 + np.exp(-2 * (x + 5)))
    one, other = fit(x, present), fit(x + shift, present)
    assert one.shape == other.shape
    assert [other.low, other.high] == pytest.approx([one.low + shift, one.high + shift], abs=1e-3)
    assert one.midpoint is None or one.low <= one.midpoint <= one.high
