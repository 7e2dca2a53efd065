"""Differences of runs that share units and texts: agreement with known tests, several comparisons at once, and what cannot be told."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from simulations.comparison_worlds import DESIGNS, Design, outcomes

from autointerp.stats.two_way import Difference, Observations, differences

OPTIONS = {"confidence": 0.95, "resamples": 4000, "seed": 0}


def sides(a: np.ndarray, b: np.ndarray, *, same_units: bool) -> Observations:
    """One grade per unit on each side, all in texts of their own."""
    n, m = len(a), len(b)
    unit = np.concatenate([np.arange(n), np.arange(m) + (0 if same_units else n)])
    return Observations(
        value=np.concatenate([a, b]),
        weight=np.concatenate([np.full(n, -1 / n), np.full(m, 1 / m)]),
        stratum=np.repeat([0, 1], [n, m]),
        side=np.repeat([0, 1], [n, m]),
        unit=unit,
        text=unit if same_units else np.arange(n + m),
    )


def one(rows: Observations) -> Difference:
    [found] = differences([rows], **OPTIONS)
    return found


def test_with_other_units_the_error_is_that_of_welch() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, 30), rng.normal(0.5, 2, 20)
    found = one(sides(a, b, same_units=False))
    assert found.value == pytest.approx(b.mean() - a.mean())
    assert found.error == pytest.approx(np.sqrt(a.var(ddof=1) / 30 + b.var(ddof=1) / 20))


def test_with_the_same_units_it_is_that_of_a_paired_test() -> None:
    rng = np.random.default_rng(1)
    a = rng.normal(0, 1, 40)
    b = a + rng.normal(0.2, 0.3, 40)
    found, expected = one(sides(a, b, same_units=True)), stats.ttest_rel(b, a)
    assert found.error == pytest.approx((b - a).std(ddof=1) / np.sqrt(40))
    assert found.p == pytest.approx(expected.pvalue, abs=0.02)
    assert found.low is not None
    assert found.low == pytest.approx(expected.confidence_interval().low, abs=0.02)


def test_what_a_text_adds_to_both_sides_cancels() -> None:
    rng = np.random.default_rng(2)
    n, texts, easy = 200, 20, rng.normal(0, 1, 20)
    unit, text = np.arange(2 * n), np.tile(np.arange(n) % texts, 2)
    value = easy[text] + rng.normal(0, 0.1, 2 * n)
    weight, side = np.repeat([-1 / n, 1 / n], n), np.repeat([0, 1], n)
    shared = one(Observations(value, weight, side, side, unit, text))
    apart = one(Observations(value, weight, side, side, unit, text + texts * side))
    assert shared.error is not None
    assert apart.error is not None
    assert shared.error < 0.5 * apart.error


def test_grades_of_one_text_are_no_independent_evidence() -> None:
    rng = np.random.default_rng(3)
    n, texts = 200, 10
    side = np.repeat([0, 1], n)
    text = rng.integers(0, texts, 2 * n) + texts * side
    value = rng.normal(0, 1, 2 * texts)[text] + rng.normal(0, 0.3, 2 * n)
    rows = Observations(value, np.repeat([-1 / n, 1 / n], n), side, side, np.arange(2 * n), text)
    alone = one(rows._replace(text=np.arange(2 * n)))
    clustered = one(rows)
    assert clustered.error is not None
    assert alone.error is not None
    assert clustered.error > 2 * alone.error
    assert clustered.freedom is not None
    assert clustered.freedom < 2 * texts


def test_intervals_of_several_comparisons_are_wider_and_hold_together() -> None:
    rng = np.random.default_rng(4)
    a = rng.normal(0, 1, 50)
    family = [sides(a, a + rng.normal(0, 1, 50), same_units=True) for _ in range(10)]
    together, alone = differences(family, **OPTIONS), one(family[0])
    critical = [(d.high - d.value) / d.error for d in (together[0], alone) if d.high is not None and d.error]
    assert critical[1] == pytest.approx(stats.t.ppf(0.975, 49), abs=0.12)
    assert stats.t.ppf(0.975, 49) + 0.3 < critical[0] < stats.t.ppf(1 - 0.025 / 10, 49) + 0.4


def test_ties_alone_and_too_few_units_have_no_interval_and_a_reason() -> None:
    a = np.random.default_rng(5).normal(0, 1, 20)
    tied = one(sides(a, a.copy(), same_units=True))
    assert (tied.value, tied.low, tied.smallest) == (0.0, None, None)
    assert tied.why == "no interval: all 20 units have the same difference, which tells nothing of their spread"
    few = one(sides(a[:5], a[5:10] + 9, same_units=True))
    assert few.why == "no interval: fewer than 12 units"


@pytest.mark.parametrize("design", DESIGNS)
def test_simulated_pairs_are_called_and_found_as_announced(design: Design) -> None:
    found = outcomes(np.random.default_rng(6), "even", design, 120)
    assert found.called <= 0.1
    assert found.found >= 0.7
