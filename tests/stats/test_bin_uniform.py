from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autointerp.records import COMPARED
from autointerp.stats import bin_uniform, comparison

SCALE = (0.0, 3.0)


def table(rows: list[list[float]], prefix: str = "unit") -> pd.DataFrame:
    return pd.DataFrame(rows, index=[f"{prefix}-{i}" for i in range(len(rows))], columns=range(1, len(rows[0]) + 1))


def skewed(rng: np.random.Generator, units: int, bins: int, activations: np.ndarray) -> pd.DataFrame:
    """Units whose grade is three times the share of the maximum that a bin has, in the bins that their activations reach."""
    share = activations / activations.max(axis=1, keepdims=True)
    has = np.stack([((share > b / bins) & (share <= (b + 1) / bins)).any(axis=1) for b in range(bins)], axis=1)
    grade = 3 * (np.arange(bins) + 0.5) / bins + rng.normal(0, 0.2, (units, bins))
    return pd.DataFrame(np.where(has, np.clip(grade, 0, 3), np.nan), columns=range(1, bins + 1))


@pytest.mark.parametrize("bins", [2, 5, 10, 20])
def test_occupancy_alone_makes_no_difference(bins: int) -> None:
    rng, units, events = np.random.default_rng(bins), 60, 400
    features = skewed(rng, units, bins, np.exp(1.5 * rng.normal(size=(units, events))))
    neurons = skewed(rng, units, bins, np.abs(rng.normal(size=(units, events))))
    grades = bin_uniform.compared_grades({"feature": features, "neuron": neurons})
    found = comparison.compare_bins(grades, confidence=0.95, scale=SCALE)
    assert abs(found.difference) < 0.08
    assert found.ci_low < 0 < found.ci_high
    assert found.p_superior_ci_low < 0.5 < found.p_superior_ci_high
    own_bins = features.mean(axis=1).mean() - neurons.mean(axis=1).mean()
    assert bins < 10 or own_bins < -0.15, "a mean over each unit's own bins has the fault"


def test_rare_features_beside_dense_neurons_have_no_difference() -> None:
    rng, units = np.random.default_rng(3), 60
    for bins in (5, 10, 20):
        features = skewed(rng, units, bins, rng.exponential(size=(units, 20)))
        neurons = skewed(rng, units, bins, rng.exponential(size=(units, 2000)))
        grades = bin_uniform.compared_grades({"feature": features, "neuron": neurons})
        found = comparison.compare_bins(grades, confidence=0.95, scale=SCALE)
        assert found.ci_low < 0 < found.ci_high


@given(st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), min_size=3, max_size=9))
@settings(max_examples=30)
def test_the_value_of_a_unit_with_all_bins_is_its_mean(rows: list[list[int]]) -> None:
    assert bin_uniform.unit_values(table(rows)) == pytest.approx(np.mean(rows, axis=1))


@given(st.integers(0, 1000))
@settings(max_examples=30)
def test_values_of_units_average_to_the_mean_over_bins_of_the_means_over_units(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = np.where(rng.random((9, 4)) < 0.4, np.nan, rng.integers(0, 4, (9, 4)))
    rows[0] = [0, 1, 2, 3]
    grades = table(rows.tolist()).dropna(how="all")
    assert bin_uniform.unit_values(grades).mean() == pytest.approx(grades.mean().mean())


def test_the_standard_error_is_that_of_many_samples() -> None:
    """The variance of the values covers bins of 5 to 40 units, and the covariance of the bins of a unit."""
    rng, means, variances = np.random.default_rng(0), [], []
    for _ in range(1500):
        level = rng.normal(1.5, 0.5, (40, 1))
        rows = level + rng.normal(0, 0.3, (40, 3))
        rows[rng.permutation(40)[:34], 1] = np.nan
        values = bin_uniform.unit_values(pd.DataFrame(rows, columns=[1, 2, 3]))
        means.append(values.mean())
        variances.append(values.var(ddof=1) / 40)
    assert np.mean(variances) == pytest.approx(np.var(means), rel=0.15)


def test_a_bin_with_few_units_of_one_kind_is_left_out() -> None:
    features = table([[1.0, 2.0, np.nan]] * 16 + [[1.0, 2.0, 3.0]] * 4)
    neurons = table([[1.0, 2.0, 3.0]] * 20)
    grades = bin_uniform.compared_grades({"feature": features, "neuron": neurons})
    assert (grades.compared, grades.left_out) == ((1, 2), (3,))
    assert bin_uniform.difference(grades) == 0


def test_half_of_the_units_suffice_if_there_are_few() -> None:
    features, neurons = table([[1.0, 2.0]] * 2 + [[1.0, np.nan]]), table([[1.0, 2.0]] * 3)
    assert bin_uniform.compared_grades({"feature": features, "neuron": neurons}).compared == (1, 2)


def test_a_kind_without_grades_leaves_the_other_its_mean() -> None:
    grades = bin_uniform.compared_grades({"feature": table([[1.0, 2.0]] * 4), "neuron": table([[1.0, 2.0]]).iloc[:0]})
    found = comparison.compare_bins(grades, confidence=0.95, scale=SCALE)
    assert (found.features_mean, found.neurons_mean, found.difference) == (1.5, None, None)
    assert found.why == "a kind has no unit with a grade"


def test_bins_that_no_two_kinds_share_give_no_difference() -> None:
    features, neurons = table([[1.0, np.nan]] * 6), table([[np.nan, 2.0]] * 6)
    found = comparison.compare_bins(
        bin_uniform.compared_grades({"feature": features, "neuron": neurons}), confidence=0.95, scale=SCALE
    )
    assert (found.difference, found.why) == (None, "no activation bin has a grade in enough units of each kind")


def test_absent_units_count_with_their_grade_in_every_compared_bin() -> None:
    grades = bin_uniform.compared_grades({kind: table([[2.0, 2.0]] * 6, kind) for kind in COMPARED})
    added = bin_uniform.with_absent(grades, {"feature": {"dead-1": 0.0, "dead-2": 0.0}, "neuron": {}})
    assert bin_uniform.difference(added) == pytest.approx(1.5 - 2.0)
