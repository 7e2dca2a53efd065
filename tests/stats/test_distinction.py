"""The mean of units' shares and its interval."""

from __future__ import annotations

import numpy as np
import pytest

from autointerp.stats.distinction import mean_told


def test_units_that_are_all_alike_have_an_interval_that_widens_as_they_are_fewer() -> None:
    few, many = mean_told([1.0] * 5, confidence=0.95), mean_told([1.0] * 100, confidence=0.95)
    assert few.low is not None
    assert many.low is not None
    assert few.high == many.high == 1
    assert few.low < many.low < 1
    assert few.low == pytest.approx(0.025 ** (1 / 5))


def test_units_without_a_share_are_left_out() -> None:
    found = mean_told([0.2, np.nan, 0.6, 1.0], confidence=0.95)
    assert found.value == pytest.approx(0.6)
    assert found.n == 3
    assert found.low is not None
    assert found.high is not None
    assert 0 < found.low < 0.6 < found.high < 1


def test_no_unit_or_too_few_have_a_reason() -> None:
    assert mean_told([], confidence=0.95).why == "no unit has a value"
    assert "fewer than 3" in str(mean_told([0.5, 0.7], confidence=0.95).why)


def test_the_interval_covers_the_mean_of_perfect_half_right_and_guessing_units() -> None:
    rng, covered = np.random.default_rng(0), 0
    for _ in range(400):
        units = rng.choice([0.2, 0.6, 1.0], p=[0.1, 0.2, 0.7], size=40)
        found = mean_told(units, confidence=0.95)
        covered += found.low is not None and found.high is not None and found.low <= 0.84 <= found.high
    assert 0.92 <= covered / 400 <= 0.985
