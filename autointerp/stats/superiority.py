"""P(feature > neuron): the share of feature-neuron pairs in which the feature has the higher mean grade, with its interval.

A pair is compared over the bins in which both have a grade, because a unit that is rarely active lacks bins and its mean over the
others is not comparable. With one column this is Mann-Whitney's U / (n m).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from autointerp.stats.means import MIN_FOR_INTERVAL, SAME, quantile, satterthwaite, spread

Floats = NDArray[np.float64]
PRIOR_FREEDOM = 16.0
"""Weight, in degrees of freedom, of the variance by formula beside the variance in the sample; chosen by simulation."""


class Superiority(NamedTuple):
    """P(feature > neuron) + P(equal) / 2 with its interval."""

    p: float | None
    """None if no pair has a bin in common."""
    low: float | None
    high: float | None
    why: str | None
    """Why the value or its interval is missing; None if both are there."""


def superiority(features: ArrayLike, neurons: ArrayLike, *, confidence: float) -> Superiority:
    """P(feature > neuron) from arrays (units, bins) of mean grades, NaN where a unit has no grade. 1-D arrays have one bin.

    The interval contains each value p' from which the estimate differs by at most t standard errors, with the variance that follows
    from p' (Newcombe 2006, "Confidence intervals for an effect size measure based on the Mann-Whitney statistic", method 5; formula of
    Hanley and McNeil 1982, times a factor for ties). Where the sample's own variance is larger than the formula's, the two are
    averaged with the weights of the sample's degrees of freedom and `PRIOR_FREEDOM`.
    """
    wins = pairwise_wins(_by_bin(features), _by_bin(neurons))
    wins = wins[np.isfinite(wins).any(axis=1)][:, np.isfinite(wins).any(axis=0)]
    if not wins.size:
        return Superiority(None, None, None, "no feature and neuron have a grade in the same bin")
    p = float(np.nanmean(wins))
    if min(wins.shape) < MIN_FOR_INTERVAL:
        return Superiority(p, None, None, f"no interval: fewer than {MIN_FOR_INTERVAL} units of a kind")
    if float(np.nanmean(wins == 0.5)) > 1 - SAME:
        return Superiority(p, None, None, "no interval: all units have the same mean")
    freedom, factor = _variance(wins, p)
    t = quantile(freedom + PRIOR_FREEDOM, confidence)

    def outside(other: float) -> float:
        return (other - p) ** 2 - t**2 * factor * by_formula(other, *wins.shape)

    low = float(optimize.brentq(outside, 0.0, p - SAME)) if p > SAME else 0.0
    high = float(optimize.brentq(outside, p + SAME, 1.0)) if p < 1 - SAME else 1.0
    return Superiority(p, low, high, None)


def pairwise_wins(features: Floats, neurons: Floats) -> Floats:
    """For each feature and neuron 1 if the feature's mean over their common bins is higher, 0.5 if equal, NaN without a common bin."""
    f, n = np.isfinite(features).astype(np.float64), np.isfinite(neurons).astype(np.float64)
    common = f @ n.T
    difference = np.nan_to_num(features) @ n.T - f @ np.nan_to_num(neurons).T
    with np.errstate(invalid="ignore", divide="ignore"):
        # Rounded, because means that are equal as fractions may differ in the last bit, and a tie must count half.
        return np.asarray((np.sign(np.round(difference / common, 12)) + 1) / 2, dtype=np.float64)


def _by_bin(grades: ArrayLike) -> Floats:
    values = np.asarray(grades, dtype=np.float64)
    return values[:, None] if values.ndim == 1 else values


def by_formula(p: float, n_features: int, n_neurons: int) -> float:
    """The variance of Hanley and McNeil (1982) with both numbers replaced by their mean, without ties."""
    others = (n_features + n_neurons) / 2 - 1
    return p * (1 - p) * (1 + others * ((1 - p) / (2 - p) + p / (1 + p))) / (n_features * n_neurons)


def _variance(wins: Floats, p: float) -> tuple[float, float]:
    """Degrees of freedom of the sample's own variance, and the factor by which the formula is multiplied.

    The sample's variance is that of Brunner and Munzel (2000), from each unit's share of wins. Ties lower the variance by at most
    q^1.5, where q is the share of tied pairs.
    """
    by_unit = [spread(np.nanmean(wins, axis=1)), spread(np.nanmean(wins, axis=0))]
    freedom = satterthwaite(*((unit.variance, unit.freedom) for unit in by_unit))
    ties = 1 - float(np.nanmean(wins == 0.5)) ** 1.5
    formula = ties * by_formula(p, *wins.shape)
    observed = sum(unit.variance for unit in by_unit)
    excess = max(observed / formula, 1.0) if formula > 0 else 1.0
    return freedom, ties * (freedom * excess + PRIOR_FREEDOM) / (freedom + PRIOR_FREEDOM)
