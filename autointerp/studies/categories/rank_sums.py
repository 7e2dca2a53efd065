"""The rank-sum test of many columns: whether values of one group of rows are higher than those of another.

Exact for few rows: under the null every choice of rows is equally likely, and the distribution of the sum of midranks depends on the
ties alone (Mann and Whitney 1947; Lehmann, "Nonparametrics", 1975, section 1.4). Activations are mostly tied at 0, so that a few
distributions serve a whole dictionary. With many rows the normal approximation with its correction for ties serves.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats

EXACT_ROWS = 60
"""Largest number of rows for which the distribution is computed."""

Floats = NDArray[np.float64]


def higher(values: NDArray[np.floating], of_group: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """For each column of `values` (rows, n): the AUROC (n,) of the rows in the group against all others, and the one-sided p (n,).

    The AUROC is the share of pairs of rows in which the one in the group is higher; ties count half.
    """
    group, others = values[of_group], values[~of_group]
    n, m = len(group), len(others)
    ranks = np.rint(2 * stats.rankdata(values, axis=0)).astype(np.int64)
    sums = ranks[of_group].sum(axis=0)
    auroc: Floats = (sums / 2 - n * (n + 1) / 2) / (n * m)
    if n + m > EXACT_ROWS:
        return auroc, _by_normal(group, others)
    ordered = np.sort(ranks, axis=0).T
    patterns, which = np.unique(ordered, axis=0, return_inverse=True)
    p = np.ones(values.shape[1])
    for number, pattern in enumerate(patterns):
        columns = np.flatnonzero(which.ravel() == number)
        p[columns] = _tails(tuple(pattern.tolist()), n)[sums[columns]]
    return auroc, p


def smallest_p(active: NDArray[np.integer], n: int, m: int) -> Floats:
    """The smallest p that columns active in `active` rows can have: if their highest rows are those of the group, n of n + m."""
    highest = np.minimum(active, n)
    p: Floats = stats.hypergeom.sf(highest - 1, n + m, highest, n)
    return p


@lru_cache(maxsize=4096)
def _tails(doubled_ranks: tuple[int, ...], n: int) -> Floats:
    """P(sum >= s) for each s, of the sum of n of these doubled ranks drawn without replacement."""
    total = sum(doubled_ranks)
    ways = np.zeros((n + 1, total + 2))
    ways[0, 0] = 1.0
    for rank in doubled_ranks:
        for drawn in range(n, 0, -1):
            ways[drawn, rank:] += ways[drawn - 1, : total + 2 - rank]
    tails: Floats = np.cumsum(ways[n, ::-1])[::-1] / ways[n].sum()
    return np.minimum(1.0, tails)


def _by_normal(group: NDArray[np.floating], others: NDArray[np.floating]) -> Floats:
    """p by the normal approximation; 1 for columns without variation."""
    varies = (np.concatenate([group, others]) != group[:1]).any(axis=0)
    p = np.ones(group.shape[1])
    if varies.any():
        tested = stats.mannwhitneyu(
            group[:, varies], others[:, varies], alternative="greater", method="asymptotic", axis=0
        )
        p[varies] = tested.pvalue
    return p
