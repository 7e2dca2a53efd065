"""The rank-sum test agrees with scipy's, counts ties exactly, and keeps the false discovery rate within its level."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from autointerp.studies.categories import rank_sums
from autointerp.studies.categories.study import discovered

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


@pytest.mark.parametrize("true", [0, 30])
def test_false_discoveries_are_within_their_level(true: int) -> None:
    rng, false_share, found_true = np.random.default_rng(2), [], []
    for _ in range(25):
        topics = rng.normal(size=(24, 6))  # features are correlated through what the texts are about
        values = topics @ rng.normal(size=(6, 300)) + rng.normal(size=(24, 300)) - rng.uniform(-1, 2, 300)
        values[:12, :true] += 12
        values = np.maximum(values, 0.0)
        tested = np.flatnonzero(rank_sums.smallest_p((values > 0).sum(axis=0), 12, 12) <= 0.001)
        auroc, p = rank_sums.higher(values[:, tested], GROUP)
        rows = {"category": "c", "feature": tested, "auroc": auroc, "p": p, "mean_probe": 0.0, "mean_control": 0.0}
        found = discovered(pd.DataFrame(rows), 0.05)["feature"]
        false_share.append(float((found >= true).mean()) if len(found) else 0.0)
        found_true.append(int((found < true).sum()))
    assert np.mean(false_share) <= 0.05 + 2 * np.std(false_share) / np.sqrt(25)
    assert np.mean(found_true) >= 0.9 * true
