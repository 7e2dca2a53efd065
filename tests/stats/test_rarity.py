"""Features and neurons are compared where they are equally far out among their own activations."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from simulations.simulate_rarity import PAIRS, coverage
from support.results.tables import judgement, judgement_table, unit_table

from autointerp.stats import rarity
from autointerp.stats.rarity import LEVELS, NUMBERS, Sums

TOKENS = 1_000_000


def table_of(
    rows: list[tuple[str, int, int, float, float, float]], densities: dict[str, float]
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Judgements, units and exemplars of (unit, number, score, rarity_low, rarity_high, probability)."""
    judgements = judgement_table([judgement(unit, 1, score, item=item) for unit, item, score, *_ in rows])
    exemplars = pd.DataFrame(
        [(f"{unit}/1/{item}", unit, low, high, p) for unit, item, _, low, high, p in rows],
        columns=["exemplar_id", "unit_id", "rarity_low", "rarity_high", "inclusion_probability"],
    )
    return judgements, unit_table(list(densities), density=list(densities.values())), exemplars


def test_a_range_of_rarities_is_shared_out_among_the_levels_that_it_reaches() -> None:
    found = rarity.shares([0, 5e-6, 5e-4, 0.009, 0.5], [1e-5, 2.5e-5, 5.5e-4, 0.011, 1.0])
    np.testing.assert_allclose(
        found, [[1, 0, 0, 0], [0.25, 0.75, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0.5], [0, 0, 0, 0]], atol=1e-12
    )


def test_a_unit_has_the_levels_that_it_is_active_often_enough_to_fill() -> None:
    assert rarity.fills([0.0, 1e-4, 0.009, 0.48]).sum(axis=1).tolist() == [0, 2, 3, 4]


def test_a_level_s_mean_is_that_of_its_events_whatever_the_sampling() -> None:
    """A unit with 100 events in a level, of which a tenth is judged of one half and all of the other."""
    rows = [("feature-0", i, 3, 5e-5, 5.1e-5, 0.1) for i in range(5)]
    rows += [("feature-0", 10 + i, 0, 2e-5, 2.1e-5, 1.0) for i in range(50)]
    judgements, units, exemplars = table_of(rows, {"feature-0": 0.01})
    found = rarity.unit_means(judgements, units, exemplars, TOKENS)
    assert found["feature-0"] == pytest.approx(1.5)


def test_an_exemplar_that_is_graded_twice_counts_once() -> None:
    rows = [("feature-0", 0, 3, 5e-5, 5.1e-5, 0.5), ("feature-0", 1, 0, 5e-5, 5.1e-5, 0.5)]
    judgements, units, exemplars = table_of(rows, {"feature-0": 0.01})
    again = judgements.iloc[:1].assign(repeat=1)
    found = rarity.unit_means(pd.concat([judgements, again]), units, exemplars, TOKENS)
    assert found["feature-0"] == pytest.approx(1.5)


def test_exemplars_of_a_level_that_the_unit_does_not_fill_do_not_count() -> None:
    rows = [("feature-0", 0, 3, 5e-6, 6e-6, 0.5), ("feature-0", 1, 0, 2e-3, 2.1e-3, 0.5)]
    judgements, units, exemplars = table_of(rows, {"feature-0": 0.005})
    assert rarity.unit_means(judgements, units, exemplars, TOKENS)["feature-0"] == 3


def test_the_mean_of_the_parts_is_the_ratio_over_all_units_that_have_the_level() -> None:
    rng = np.random.default_rng(0)
    weight, has = rng.random((30, 4)), rng.random((30, 4)) < 0.7
    graded = weight * rng.integers(0, 4, (30, 4))
    weight[3] = graded[3] = 0  # a unit without a judged exemplar
    found = rarity.parts(Sums(weight, graded, has))
    ratio = (graded * has).sum(axis=0) / (weight * has).sum(axis=0)
    np.testing.assert_allclose(np.nanmean(found, axis=0), ratio)
    np.testing.assert_array_equal(np.isnan(found), ~has)


def test_a_level_is_compared_if_enough_units_of_both_kinds_have_a_grade_in_it() -> None:
    rows, densities = [], {}
    for kind, sign, density in (("feature", "", 0.002), ("neuron", "+", 0.4)):
        for u in range(6):
            unit = f"{kind}-{u}{sign}"
            densities[unit] = density
            rows += [(unit, n, n % 4, 0.5 * share, 0.6 * share, 0.5) for n, share in enumerate(LEVELS)]
    rows = [row for row in rows if row[1] != 0 or row[0] in ("feature-0", "feature-1") or row[0].startswith("neuron")]
    found = rarity.grades(*table_of(rows, densities), TOKENS)
    assert found.grades.compared == (2, 3)
    assert found.grades.left_out == (1, 4)
    assert [found.n_units("feature", level) for level in NUMBERS] == [2, 6, 6, 0]
    assert found.exemplars["neuron"] == dict.fromkeys(NUMBERS, 6)


def test_a_level_that_holds_less_than_one_token_of_the_corpus_is_left_out() -> None:
    rows = [(f"{kind}-{u}", 0, 2, 0.0, 5e-5, 0.5) for kind in ("feature", "neuron") for u in range(6)]
    densities = {unit: 0.2 for unit, *_ in rows}
    assert rarity.grades(*table_of(rows, densities), 100_000).grades.compared == (1, 2)
    assert rarity.grades(*table_of(rows, densities), 20_000).grades.compared == (2,)


def test_tables_of_earlier_versions_have_the_rarity_of_a_twentieth_of_the_maximum() -> None:
    histogram = [0] * 20
    histogram[19], histogram[10], histogram[0] = 2, 8, 90
    units = unit_table(["feature-0"], density=[0.01]).assign(n_events=100, histogram=[histogram])
    exemplars = pd.DataFrame(
        {"exemplar_id": ["a", "b", "c", "d"], "unit_id": "feature-0", "activation_fraction": [1.0, 0.55, 0.01, 0.0]}
    )
    found = rarity.ranges(units, exemplars)
    np.testing.assert_allclose(found["low"], [0, 2e-4, 1e-3, np.nan])
    np.testing.assert_allclose(found["high"], [2e-4, 1e-3, 1e-2, np.nan])
    exact = rarity.ranges(units, exemplars.assign(rarity_low=0.3, rarity_high=[0.4, 0.4, np.nan, 0.4]))
    np.testing.assert_allclose(exact["high"], [0.4, 0.4, 1e-2, 0.4])


def test_intervals_cover_a_planted_difference_that_bins_of_the_maximum_misstate() -> None:
    found = coverage(PAIRS["equal at equal rarity"], 30, runs=60)
    assert 0.88 <= found.overall <= 1
    assert abs(found.bias) < 0.05
    assert found.bin_uniform > found.true + 0.5
