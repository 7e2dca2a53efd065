"""Intervals of statistics that are functions of sums over units, by the jackknife over units.

The statistic without each unit in turn gives the standard error, and t its quantile. With few units three things matter more than
the choice of a resampling method, and tests/simulations/simulate_agreement.py shows each of them:

- Degrees of freedom. If most of the variance comes from a few units, the standard error is known as badly as from that few. Its degrees
  of freedom follow from the kurtosis of the units' influences, and are never more than the effective number of units minus 1.
- The scale. A share, or a coefficient whose maximum is 1, has a skew distribution near its end: Wilson's interval and Fisher's
  transformation are used there.
- Perfect agreement has no variance, and yet a limit: n units that agree without exception do not show that all units would.
  The exact limit of Clopper and Pearson (1934), (alpha / 2)^(1 / n), is the share of units that agree at least.

Everything here takes arrays over any number of samples at once.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Scale = Literal["share", "coefficient", "positive", "plain"]
"""What a statistic is: a share in [0, 1], a coefficient of agreement with the maximum 1, a positive number, or any number."""
SAME = 1e-12
"""Statistics closer than this are equal, because they are functions of sums of small integers."""


class Limits(NamedTuple):
    """Lower and upper limits, NaN where there are none."""

    low: Floats
    high: Floats


def effective_number(weights: Floats) -> Floats:
    """The number of equal units that are worth as much as units of these weights (..., units): sum(w)^2 / sum(w^2) (Kish 1965).

    It is 0 if all weights are 0.
    """
    squares = (weights**2).sum(axis=-1)
    return np.asarray(weights.sum(axis=-1) ** 2 / np.where(squares > 0, squares, np.inf), dtype=np.float64)


def error_and_freedom(left_out: Floats) -> tuple[Floats, Floats]:
    """The standard error of a statistic and the degrees of freedom of that error, from its values without each unit (..., units).

    Units without which the statistic is undefined are left out. The variance of a variance of n values is about (k - 1) / n of
    its square, k being their kurtosis, and that of chi-squared with f degrees of freedom 2 / f, so f = 2 n / (k - 1).
    """
    known = np.isfinite(left_out)
    n = known.sum(axis=-1)
    values = np.where(known, left_out, 0.0)
    with np.errstate(all="ignore"):
        away = np.where(known, values - (values.sum(axis=-1) / n)[..., None], 0.0)
        squares = (away**2).sum(axis=-1)
        kurtosis = n * (away**4).sum(axis=-1) / squares**2
        freedom = np.minimum(2 * n / np.maximum(kurtosis - 1, SAME), n - 1)
        return np.sqrt((n - 1) / n * squares), freedom


def limits(value: Floats, left_out: Floats, units: Floats, scale: Scale, confidence: float) -> Limits:
    """The interval of a statistic from its values without each unit (..., units).

    `units` is the effective number of units. There are no limits if the statistic is the same without any unit, unless it is a share
    of 0 or 1 or a coefficient of 1. The lower limit of a coefficient of 1 assumes that the units in which the graders may still
    disagree, at most 1 - (alpha / 2)^(1 / n) of all, are graded as by chance.
    """
    error, freedom = error_and_freedom(left_out)
    with np.errstate(all="ignore"):
        freedom = np.maximum(np.minimum(freedom, units - 1), 1.0)
        half = stats.t.ppf((1 + confidence) / 2, freedom) * error
        low, high = on_scale(value, half, scale)
        least = ((1 - confidence) / 2) ** (1 / units)
        if scale == "share":
            exact = _binomial_limits(value, error, units, confidence)
            low, high = np.fmax(low, exact.low), np.fmin(high, exact.high)
    varies = error > SAME
    low, high = np.where(varies, low, np.nan), np.where(varies, high, np.nan)
    if scale in ("share", "coefficient"):
        perfect = value >= 1 - SAME
        low, high = np.where(perfect, least, low), np.where(perfect, 1.0, high)
    if scale == "share":
        none = value <= SAME
        low, high = np.where(none, 0.0, low), np.where(none, 1 - least, high)
    known = np.isfinite(value) & np.isfinite(low) & np.isfinite(high)
    return Limits(np.where(known, low, np.nan), np.where(known, high, np.nan))


def _binomial_limits(value: Floats, error: Floats, units: Floats, confidence: float) -> Limits:
    """Clopper and Pearson's limits for a share of as many independent items as have this error (Korn and Graubard 1998).

    They are narrower than Wilson's if a share rests on one or two exceptions, whose kurtosis leaves hardly a degree of freedom.
    """
    tail = (1 - confidence) / 2
    ratio = stats.norm.isf(tail) / stats.t.isf(tail, np.maximum(units - 1, 1))
    n = value * (1 - value) / error**2 * ratio**2
    hits, misses = value * n, (1 - value) * n
    return Limits(stats.beta.ppf(tail, hits, misses + 1), stats.beta.ppf(1 - tail, hits + 1, misses))


def on_scale(value: Floats, half: Floats, scale: Scale) -> tuple[Floats, Floats]:
    """The limits of `value`, whose own scale has them at a distance of `half`."""
    if scale == "share":
        # Wilson's interval for a share of n = value (1 - value) / error^2 independent items.
        squared = half**2 / (value * (1 - value))
        middle = (value + squared / 2) / (1 + squared)
        away = np.sqrt(squared * (value * (1 - value) + squared / 4)) / (1 + squared)
        return middle - away, middle + away
    if scale == "coefficient":
        inside = np.clip(value, SAME - 1, 1 - SAME)
        middle, away = np.arctanh(inside), half / (1 - inside**2)
        return np.tanh(middle - away), np.tanh(middle + away)
    if scale == "positive":
        return value * np.exp(-half / value), value * np.exp(half / value)
    return value - half, value + half
