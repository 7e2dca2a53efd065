"""Means over events: weighted by inclusion probability, and unbiased over the splits of a corpus into halves."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from simulations import simulate_frequency
from support.results.tables import judgement, judgement_table, unit_table

from autointerp.stats import frequency

GRADES = {"feature-0": {1: [3, 0], 2: [2]}, "feature-1": {1: [1], 2: [3]}, "feature-2": {2: [0]}}


def world(**columns: list[list[int]]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    rows = [
        judgement(unit, bin_, grade, item=i)
        for unit, bins in GRADES.items()
        for bin_, grades in bins.items()
        for i, grade in enumerate(grades)
    ]
    judgements = judgement_table(rows)
    units = unit_table(list(GRADES), **{"bin_events": [[8, 2]] * 3, **columns})
    exemplars = pd.DataFrame({"exemplar_id": judgements["exemplar_id"], "inclusion_probability": 0.5})
    exemplars.loc[exemplars["exemplar_id"] == "feature-0/1/1", "inclusion_probability"] = 0.25
    return judgements, units, exemplars


def test_within_a_bin_an_exemplar_weighs_its_inverse_probability() -> None:
    means = frequency.unit_means(*world())
    assert means["feature-0"] == pytest.approx((8 * (2 * 3 + 4 * 0) / 6 + 2 * 2) / 10)
    assert means["feature-1"] == pytest.approx((8 * 1 + 2 * 3) / 10)
    assert means["feature-2"] == 0


def test_a_unit_without_a_grade_has_no_mean_and_no_estimate() -> None:
    judgements, units, exemplars = world(judging_bin_events=[[4, 1]] * 3)
    judgements = judgements.loc[judgements["unit_id"] != "feature-1"]
    for found in (frequency.unit_means, frequency.estimates):
        assert np.isnan(found(judgements, units, exemplars)["feature-1"])


def test_with_half_of_the_events_on_each_side_an_estimate_is_the_mean_over_events() -> None:
    tables = world(judging_bin_events=[[4, 1]] * 3)
    estimates, means = frequency.estimates(*tables), frequency.unit_means(*tables)
    assert estimates[["feature-0", "feature-1"]].to_numpy() == pytest.approx(
        means[["feature-0", "feature-1"]].to_numpy()
    )
    # Bin 1 was not judged: its events are given the mean of the other units.
    assert estimates["feature-2"] == pytest.approx((8 * (1 + 1) / 2 + 2 * 0) / 10)


def test_units_of_an_earlier_version_keep_their_means() -> None:
    pd.testing.assert_series_equal(frequency.estimates(*world()), frequency.unit_means(*world()))


def test_a_bin_of_which_no_event_is_judged_keeps_the_mean_of_the_others() -> None:
    estimates = frequency.estimates(*world(judging_bin_events=[[0, 1], [8, 2], [4, 1]]))
    assert estimates["feature-0"] == pytest.approx((8 * 1 + 2 * 2) / 10)
    others = (8 * 1 + 2 * 1) / 10
    assert estimates["feature-1"] == pytest.approx(others + 2 * (8 * (1 - 1) + 2 * (3 - 1)) / 10)


def test_estimates_are_unbiased_if_two_documents_hold_most_events() -> None:
    """A small version of `simulations/simulate_frequency.py`."""
    found = simulate_frequency.bias("two-long", seeds=15, units=2)
    assert abs(found["estimate"].z) < 3.5, found
    assert found["plain"].z > 3.5, found
