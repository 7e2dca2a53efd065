"""How well attribution agrees with ablation, and whether one pair decides the figure."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from autointerp.studies.attribution import agreement


def pairs(attribution: np.ndarray, ablation: np.ndarray) -> pd.DataFrame:
    names = [f"feature-{i}" for i in range(len(attribution))]
    columns = {"attribution": attribution, "ablation": ablation, "activation": np.ones(len(attribution))}
    return pd.DataFrame({"name": names, "token": "1 'x'", **columns})


def test_the_pair_that_decides_a_correlation_is_named_with_the_correlation_of_the_others() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=40)
    y = x + 0.1 * rng.normal(size=40)
    clean = agreement.of(pairs(x, y), 40)
    assert not clean.is_decided_by_one
    x[7], y[7] = 9.0, -9.0
    found = agreement.of(pairs(x, y), 40)
    others = np.arange(40) != 7
    assert found.is_decided_by_one
    assert found.outlier == "feature-7 at 1 'x'"
    assert found.without_outlier == pytest.approx(np.corrcoef(x[others], y[others])[0, 1])
    assert found.attribution_ablation == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert found.ranks == pytest.approx(stats.spearmanr(x, y).statistic)
    assert found.ranks > 0.8


@pytest.mark.parametrize("n", [0, 1, 3, 5])
def test_few_or_equal_pairs_have_no_correlation_that_one_decides(n: int) -> None:
    found = agreement.of(pairs(np.zeros(n), np.arange(n, dtype=float)), n)
    assert (found.outlier, found.without_outlier, found.is_decided_by_one) == (None, None, False)


def test_a_single_pair_that_varies_leaves_no_correlation_without_it() -> None:
    x = np.array([5.0, 0.0, 0.0, 0.0, 0.0])
    found = agreement.of(pairs(x, x), 5)
    assert (found.outlier, found.without_outlier) == ("feature-0 at 1 'x'", 0.0)
