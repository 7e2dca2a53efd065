"""Statistics of agreement as functions of sums over units, and each unit's part in the spread of the grades.

A sum over all units gives a statistic, a sum over all but one that statistic without the unit: `jackknife` makes an interval of both.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from autointerp.stats import jackknife
from autointerp.stats.jackknife import SAME, Floats

_MOST_CHANCE = 0.001
"""Items differ if chance explains their differences with at most this probability."""


def repeat_terms(size: Floats, mean: Floats, var: Floats, flip: Floats) -> Floats:
    """The terms (..., 8) of each item whose sums give the statistics of `Repeats`, from the number, mean and variance of its grades."""
    terms = [np.ones_like(size), size, size**2, var, flip, (size - 1) * var, size * mean, size * mean**2]
    return np.stack(terms, axis=-1)


def repeat_figures(sums: Floats) -> dict[str, Floats]:
    """The statistics of `Repeats` from sums (..., terms), by a one-way analysis of variance with items as groups.

    ICC(1,1) = (MSB - MSW) / (MSB + (k - 1) MSW) and ICC(1,k) = (MSB - MSW) / MSB.
    """
    n, size, squares, var, flips, within, first, second = np.moveaxis(sums, -1, 0)
    k = (size - squares / size) / (n - 1)
    ms_within, ms_between = within / (size - n), (second - first**2 / size) / (n - 1)
    spread = ms_between + (k - 1) * ms_within
    icc = (ms_between - ms_within) / np.where(spread > SAME, spread, np.nan)
    single = {"within_sd": np.sqrt(var / n), "flip_rate": flips / n, "icc_single": icc}
    return single | {"icc_mean": (ms_between - ms_within) / np.where(ms_between > SAME, ms_between, np.nan)}


def pair_figures(sums: Floats, levels: Sequence[int]) -> dict[str, Floats]:
    """The statistics of `Agreement` from confusion matrices (..., q * q) flattened.

    Kappa and AC2 are 1 - observed / expected disagreement, disagreement being the squared distance of two grades as a share of the
    largest. They differ in what is expected by chance: kappa multiplies the two graders' distributions, AC2 asks how evenly their mean
    distribution covers the grades.
    """
    q, grade = len(levels), np.asarray(levels, dtype=np.float64)
    cells = sums.reshape(*sums.shape[:-1], q, q)
    p = cells / sums.sum(axis=-1)[..., None, None]
    place = np.arange(q)
    distance = ((place[:, None] - place) / max(q - 1, 1)) ** 2
    rows, columns = p.sum(axis=-1), p.sum(axis=-2)
    share = (rows + columns) / 2
    observed = (p * distance).sum(axis=(-2, -1))
    expected = (rows[..., :, None] * columns[..., None, :] * distance).sum(axis=(-2, -1))
    # Gwet's agreement by chance, sum(weights) / (q (q - 1)) * sum(share (1 - share)), as a disagreement.
    gwet_expected = 1 - (1 - distance).sum() / max(q * (q - 1), 1) * (share * (1 - share)).sum(axis=-1)
    return {
        "exact": (p * (distance == 0)).sum(axis=(-2, -1)),
        "adjacent": (p * (np.abs(place[:, None] - place) <= 1)).sum(axis=(-2, -1)),
        "kappa": 1 - observed / np.where(expected > SAME, expected, np.nan),
        "ac2": 1 - observed / np.where(gwet_expected > SAME, gwet_expected, np.nan),
        "alpha": _alpha(cells + np.swapaxes(cells, -1, -2)),
        "difference": columns @ grade - rows @ grade,
    }


def panel_figures(sums: Floats, levels: Sequence[int]) -> dict[str, Floats]:
    """The statistics of `Panel` from matrices of coincidences (..., q * q) flattened."""
    return {"alpha": _alpha(sums.reshape(*sums.shape[:-1], len(levels), len(levels)))}


def repeat_spread(sums: Floats) -> Floats:
    """Each unit's squares about the mean grade of all items, from sums (..., units, terms) as in `repeat_figures`.

    They are 0 if the items do not differ beyond the noise of their grades, by the F test of the analysis of variance: the sample then
    holds none of the items, rare as they may be, that an ICC is about.
    """
    n, size, within, first, second = np.moveaxis(sums[..., [0, 1, 5, 6, 7]], -1, 0)
    mean = (first.sum(axis=-1) / size.sum(axis=-1))[..., None]
    between = second - 2 * mean * first + mean**2 * size
    freedom = n.sum(axis=-1) - 1, (size - n).sum(axis=-1)
    with np.errstate(all="ignore"):
        ratio = (between.sum(axis=-1) / freedom[0]) / (within.sum(axis=-1) / freedom[1])
        differ = (ratio > stats.f.isf(_MOST_CHANCE, *freedom)) & (between.sum(axis=-1) > SAME)
    return np.asarray((within + between) * differ[..., None], dtype=np.float64)


def pair_spread(sums: Floats, levels: Sequence[int]) -> Floats:
    """Each unit's squares about the mean grade, for the grader whose spread lies in fewer units; from sums (..., units, q * q)."""
    q, grade = len(levels), np.asarray(levels, dtype=np.float64)
    cells = sums.reshape(*sums.shape[:-1], q, q)
    spreads = []
    for given in (cells.sum(axis=-1), cells.sum(axis=-2)):
        total = given.sum(axis=-2)
        mean = (total @ grade) / total.sum(axis=-1)
        spreads.append((given * (grade - mean[..., None, None]) ** 2).sum(axis=-1))
    fewer = jackknife.effective_number(spreads[0]) <= jackknife.effective_number(spreads[1])
    return np.asarray(np.where(fewer[..., None], *spreads), dtype=np.float64)


def _alpha(coincidences: Floats) -> Floats:
    """Krippendorff's alpha, 1 - observed / expected disagreement, from matrices of coincidences (..., grades, grades).

    The ordinal distance of two grades is the squared number of grades given between their midpoints.
    """
    n_given = coincidences.sum(axis=-1)
    total = n_given.sum(axis=-1)
    midpoint = np.cumsum(n_given, axis=-1) - n_given / 2
    distance = (midpoint[..., :, None] - midpoint[..., None, :]) ** 2
    observed = (coincidences * distance).sum(axis=(-2, -1))
    expected = (n_given[..., :, None] * n_given[..., None, :] * distance).sum(axis=(-2, -1)) / (total - 1)
    return np.asarray(1 - observed / np.where(expected > SAME, expected, np.nan), dtype=np.float64)
