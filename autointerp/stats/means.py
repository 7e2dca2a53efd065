"""Intervals of a mean over units and of a difference of two means, for few units, skewed units and unequal numbers of them.

Grades lie on a scale. A mean near an end of it has a skewed distribution, and a symmetric interval around it covers too little, so a
mean on a scale has a t interval on the logit of the scale. The limits of a difference follow from those of the two means by the
square-and-add rule (Zou and Donner 2008, "Construction of confidence limits about effect measures"). The degrees of freedom of a
variance depend on the kurtosis: a few units that differ from all others tell as little of the spread as a small sample does.
`tests/simulations/simulate_headline.py` measures coverage.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]
Scale = tuple[float, float]
"""The lowest and the highest possible value."""

MIN_FOR_INTERVAL = 3
"""No interval is computed from fewer units than this: resamples of two values have only three means."""
PRIOR_KURTOSIS = 1.5
"""Added to the excess kurtosis of a sample, which understates that of the population if units are few; chosen by simulation."""
MIN_UNBOUNDED_FREEDOM = 10.0
"""Without a scale, no interval of a difference is given below these degrees of freedom: for 8 skewed units against 100 it covers .88."""
SAME = 1e-12
"""Unit means closer than this are equal, because they are sums of a few fractions of small integers."""


class Limits(NamedTuple):
    """An interval, or the reason why there is none."""

    low: float | None
    high: float | None
    why: str | None
    """Why there is no interval; None if there is one."""
    freedom: float | None
    """Degrees of freedom of the estimated variance, a measure of the information behind the interval; None without an interval."""


class Spread(NamedTuple):
    """A mean over units with the variance of that mean."""

    mean: float
    variance: float
    freedom: float
    """Degrees of freedom of the variance."""
    n: int


def of_differences(scale: Scale) -> Scale:
    """The scale of differences of two values on a scale."""
    width = scale[1] - scale[0]
    return -width, width


def finite(values: ArrayLike) -> Floats:
    """The finite values, sorted so that no result depends on the order of rows."""
    array = np.asarray(values, dtype=np.float64)
    return np.sort(array[np.isfinite(array)])


def spread(values: Floats) -> Spread:
    """Mean of at least two finite values, the variance of the mean, and its degrees of freedom.

    The variance of a sample variance is s^4 (2 / (n - 1) + excess kurtosis / n), so that a chi-squared variable with as large a
    relative variance has 2 / (2 / (n - 1) + kurtosis / n) degrees of freedom, and never more than n - 1.
    """
    n, mean = len(values), float(values.mean())
    squares = (values - mean) ** 2
    total = float(squares.sum())
    kurtosis = n * float((squares**2).sum()) / total**2 - 3 if total > SAME else 0.0
    freedom = 2 / (2 / (n - 1) + max(kurtosis + PRIOR_KURTOSIS, 0.0) / n)
    return Spread(mean, total / (n - 1) / n, min(freedom, n - 1.0), n)


def mean_limits(values: ArrayLike, *, confidence: float, scale: Scale) -> Limits:
    """The interval of a mean over units on a scale."""
    sample = finite(values)
    if why := no_spread(sample, "units"):
        return Limits(None, None, why, None)
    of_units = spread(sample)
    low, high = limits(of_units, quantile(of_units.freedom, confidence), scale)
    return Limits(low, high, None, of_units.freedom)


def difference_limits(first: ArrayLike, second: ArrayLike, *, confidence: float, scale: Scale | None) -> Limits:
    """The interval of the first mean minus the second, of independent samples of units. Without a scale it is symmetric.

    With means a and b and their limits, the lower limit is (a - b) - sqrt((a - low_a)^2 + (high_b - b)^2), and the upper
    one accordingly. The degrees of freedom are those of Welch and Satterthwaite, but not more than if both kinds had the same
    spread: a small sample without its rare units seems to have hardly any spread, and the larger one would decide. If all units of one
    kind are alike, its limits are those of `rare`.
    """
    samples = [finite(values) for values in (first, second)]
    reasons = [no_spread(sample, "units of one kind") for sample in samples]
    why = next(filter(None, reasons), None)
    if why and (min(map(len, samples)) < MIN_FOR_INTERVAL or scale is None or all(reasons)):
        return Limits(None, None, why, None)
    a, b = (spread(sample) for sample in samples)
    freedom = min(
        satterthwaite((a.variance, a.freedom), (b.variance, b.freedom)),
        satterthwaite((1 / a.n, a.freedom), (1 / b.n, b.freedom)),
    )
    if scale is None and satterthwaite((1 / a.n, a.n - 1.0), (1 / b.n, b.n - 1.0)) < MIN_UNBOUNDED_FREEDOM:
        return Limits(None, None, f"no interval: {a.n} units of one kind against {b.n} of the other are too few", None)
    t = quantile(freedom, confidence)
    (low_a, high_a), (low_b, high_b) = (
        limits(of_units, t, scale) if of_units.variance > SAME or scale is None else rare(of_units, confidence, scale)
        for of_units in (a, b)
    )
    difference = a.mean - b.mean
    low = difference - math.hypot(a.mean - low_a, high_b - b.mean)
    return Limits(low, difference + math.hypot(high_a - a.mean, b.mean - low_b), None, freedom)


def no_spread(sample: Floats, name: str) -> str | None:
    """Why a sample has no interval; None if it has one."""
    if len(sample) < MIN_FOR_INTERVAL:
        return f"no interval: fewer than {MIN_FOR_INTERVAL} {name}"
    if float(np.ptp(sample)) < SAME:
        return f"no interval: all {len(sample)} {name} have the same value, which tells nothing of their spread"
    return None


def limits(of_units: Spread, t: float, scale: Scale | None) -> tuple[float, float]:
    """The mean plus and minus `t` standard errors, on the logit of the scale if there is one."""
    error = t * math.sqrt(of_units.variance)
    if scale is None:
        return of_units.mean - error, of_units.mean + error
    width = scale[1] - scale[0]
    share = float(np.clip((of_units.mean - scale[0]) / width, SAME, 1 - SAME))
    # The delta method: the standard error of logit(p) is that of p divided by p (1 - p).
    ends = math.log(share / (1 - share)) + np.array([-1, 1]) * error / width / (share * (1 - share))
    low, high = scale[0] + width * stats.logistic.cdf(ends)
    return float(low), float(high)


def rare(of_units: Spread, confidence: float, scale: Scale) -> tuple[float, float]:
    """Limits of the mean if all n units are alike, as far away as units at the end of the scale could move it that none of n is.

    Such units have a share of at most 1 - (tail probability)^(1 / n): the exact binomial limit of 0 in n, which is conservative.
    """
    share = 1 - ((1 - confidence) / 2) ** (1 / of_units.n)
    mean = of_units.mean
    return mean - share * (mean - scale[0]), mean + share * (scale[1] - mean)


def quantile(freedom: float, confidence: float) -> float:
    """The quantile of Student's t for a two-sided interval."""
    return float(stats.t.ppf((1 + confidence) / 2, freedom))


def satterthwaite(*parts: tuple[float, float]) -> float:
    """Degrees of freedom of a sum of independent variances, from (variance, freedom) pairs; 0 if all variances are 0."""
    total = sum(variance for variance, _ in parts)
    spread_ = sum(variance**2 / freedom for variance, freedom in parts)
    return total**2 / spread_ if spread_ > 0 else 0.0
