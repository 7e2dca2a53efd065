"""The rank-sum test agrees with scipy's and counts ties exactly."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from autointerp.studies.categories import rank_sums

GROUP = np.arange(24) < 12


def test_without_ties_it_is_the_exact_test_of_scipy() -> None:
    values = np.random.default_rng(0).normal(size=(24, 30))
    auroc, p = rank_sums.higher(values, GROUP)
    expected = stats.mannwhitneyu(values[:12], values[12:], alternative="greater", method="exact")
    np.testing.assert_allclose(p, expected.pvalue, rtol=1e-9)
    np.testing.assert_allclose(auroc, expected.statistic / 144)


def test_with_ties_it_counts_every_choice_of_rows() -> None:
    values = np.array([[3.0], [0.0], [2.0], [2.0], [0.0], [0.0], [1.0]])
    group = np.array([True, False, True, False, True, False, False])
    ranks = stats.rankdata(values[:, 0])
    sums = [sum(ranks[list(rows)]) for rows in combinations(range(7), 3)]
    observed = ranks[group].sum()
    _, p = rank_sums.higher(values, group)
    assert p[0] == pytest.approx(np.mean([each >= observed for each in sums]))


def test_many_rows_are_compared_by_the_normal_approximation() -> None:
    values = np.random.default_rng(1).normal(size=(80, 3))
    values[:40, 0] += 2
    values[:, 2] = 0
    _, p = rank_sums.higher(values, np.arange(80) < 40)
    assert p[0] < 1e-6
    assert p[1] > 1e-3
    assert p[2] == 1


def test_the_smallest_p_is_reached_by_the_best_order() -> None:
    for active in (3, 8, 12, 15, 24):
        values = np.zeros((24, 1))
        values[:active, 0] = np.arange(active, 0, -1)
        assert rank_sums.higher(values, GROUP)[1][0] == pytest.approx(
            rank_sums.smallest_p(np.array([active]), 12, 12)[0]
        )
