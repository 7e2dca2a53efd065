"""Differences of means whose observations share units and texts, several of them at once.

An estimate is a weighted sum of grades. Grades of one unit depend on each other, and so do grades of one text, so the variance is
that of sums over units plus that of sums over texts, minus that of sums over both at once, which both contain (Cameron, Gelbach and Miller,
"Robust inference with multiway clustering", JBES 2011). If two runs share units or texts, the shared part cancels in their difference by the same
formula: a paired comparison is one whose clusters hold grades of both runs.

Several differences are judged by one critical value, that of the largest |t| among them (Romano and Wolf, "Exact and approximate
stepdown methods for multiple hypothesis testing", JASA 2005), from a bootstrap over units and texts (Owen and Eckles, "Bootstrapping data
arrays of arbitrary order", AoAS 2012). tests/simulations/simulate_comparisons.py measures how often it errs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, stats

from autointerp.stats import means

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
Verdict = Literal["better", "worse", "cannot be told"]

MIN_UNITS = 12
"""No verdict rests on fewer units than this: of 8 paired units, most of them unchanged, t covers .88."""
POWER = 0.8
"""Probability with which the smallest visible difference is found."""
_AIM = 0.83
"""The smallest difference is computed for this power, because its error is an estimate; chosen by simulation."""
_BATCH_VALUES = 1 << 23
"""Number of values that the bootstrap holds at once."""


class Observations(NamedTuple):
    """The grades (n,) of one estimate, which is the sum of weight * value."""

    value: Floats
    weight: Floats
    stratum: Codes
    """Grades of one stratum share a mean: those of one run in one activation bin, for example."""
    side: Codes
    """0 and 1 for the two runs that are compared."""
    unit: Codes
    text: Codes


class Difference(NamedTuple):
    """A difference with its interval, which holds for all differences of a family together. What cannot be computed is None."""

    value: float
    error: float | None
    """Standard error."""
    freedom: float | None
    """Degrees of freedom of the error."""
    low: float | None
    high: float | None
    p: float | None
    """Probability of a difference as large as this in some comparison of the family, if there is none in any."""
    smallest: float | None
    """The smallest true difference that is found with a probability of `POWER`."""
    n_units: int
    """Number of units behind it; units of both runs count once."""
    why: str | None
    """Why there is no interval; None if there is one."""


class _Spread(NamedTuple):
    """The parts (n,) that clusters contribute to an estimate, and what follows from them."""

    of_units: Floats
    of_texts: Floats
    of_both: sparse.csr_array
    error: float
    freedom: float


def differences(family: Sequence[Observations], *, confidence: float, resamples: int, seed: int) -> list[Difference]:
    """The estimates of a family of comparisons with simultaneous intervals. Codes of units and texts are common to the family.

    A comparison has no interval if a stratum has a single unit, if it has fewer than `MIN_UNITS` units, or if its units all contribute the same.
    """
    spreads = [_spread(rows) for rows in family]
    known = [spread for spread in spreads if not isinstance(spread, str)]
    largest = _largest(known, resamples, seed)
    critical = float(np.quantile(largest, confidence)) if len(largest) else np.nan
    results = []
    for rows, spread in zip(family, spreads, strict=True):
        value, n = float(rows.weight @ rows.value), len(np.unique(rows.unit))
        value = 0.0 if abs(value) < means.SAME else value
        if isinstance(spread, str):
            results.append(Difference(value, None, None, None, None, None, None, n, spread))
            continue
        half = critical * spread.error
        p = (1 + int((largest >= abs(value) / spread.error).sum())) / (1 + len(largest))
        smallest = smallest_difference(spread.error, spread.freedom, critical)
        results.append(
            Difference(value, spread.error, spread.freedom, value - half, value + half, p, smallest, n, None)
        )
    return results


def verdict_of(low: float | None, high: float | None) -> Verdict:
    """`better` if the whole interval is above 0, `worse` if it is below, `cannot be told` otherwise and without an interval."""
    if low is None or high is None:
        return "cannot be told"
    return "better" if low > 0 else "worse" if high < 0 else "cannot be told"


def smallest_difference(error: float, freedom: float, critical: float) -> float:
    """The true difference whose |t| exceeds `critical` with a probability of `POWER` at least."""
    return float(critical + stats.t.ppf(_AIM, freedom)) * error


def influences(rows: Observations) -> Floats:
    """What each grade contributes to the estimate's error: weight * (grade - mean of its stratum).

    The factor sqrt(n / (n - 1)), n the stratum's number of units, makes the variance of a mean over units unbiased.
    """
    count = int(rows.stratum.max()) + 1
    total = np.bincount(rows.stratum, rows.weight, count)
    mean = np.bincount(rows.stratum, rows.weight * rows.value, count) / np.where(total == 0, 1, total)
    n = _units_by_stratum(rows)
    factor = np.sqrt(n / np.maximum(n - 1, 1))
    return np.asarray(rows.weight * (rows.value - mean[rows.stratum]) * factor[rows.stratum], dtype=np.float64)


def _spread(rows: Observations) -> _Spread | str:
    """The spread of an estimate, or why it has none."""
    n = len(np.unique(rows.unit))
    if n < MIN_UNITS:
        return f"no interval: fewer than {MIN_UNITS} units"
    influence = influences(rows)
    of_units, of_texts = _sums(rows.unit, influence), _sums(rows.text, influence)
    shape = (len(of_units), len(of_texts))
    of_both = sparse.coo_array((influence, (rows.unit, rows.text)), shape=shape).tocsr()
    of_both.sum_duplicates()
    by_unit, by_text, by_both = (float((x**2).sum()) for x in (of_units, of_texts, of_both.data))
    if by_unit < means.SAME**2:
        return f"no interval: all {n} units have the same difference, which tells nothing of their spread"
    freedom = min(_freedom_of_units(rows, influence, of_units), _freedom(of_texts, rows.text))
    return _Spread(of_units, of_texts, of_both, float(np.sqrt(max(by_unit + by_text - by_both, by_both))), freedom)


def _freedom_of_units(rows: Observations, influence: Floats, of_units: Floats) -> float:
    """Degrees of freedom by units. If the sides have other units, not more than if both had the same spread.

    A small sample without its rare units seems to have hardly any spread, and the larger one would decide (see `means.difference_limits`).
    """
    freedom = _freedom(of_units, rows.unit)
    sides = [rows.side == side for side in (0, 1)]
    units = [np.unique(rows.unit[side]) for side in sides]
    if min(map(len, units)) < 2 or len(np.intersect1d(units[0], units[1])) == len(units[0]):
        return freedom
    alone = [_freedom(_sums(rows.unit[side], influence[side]), rows.unit[side]) for side in sides]
    return min(freedom, means.satterthwaite(*[(1 / len(u), f) for u, f in zip(units, alone, strict=True)]))


def _sums(codes: Codes, values: Floats) -> Floats:
    return np.asarray(np.bincount(codes, values), dtype=np.float64)


def _freedom(parts: Floats, codes: Codes) -> float:
    return means.spread(parts[np.unique(codes)]).freedom


def _units_by_stratum(rows: Observations) -> Codes:
    pairs = np.unique(np.stack([rows.stratum, rows.unit]), axis=1)
    return np.bincount(pairs[0], minlength=int(rows.stratum.max()) + 1)


def _largest(family: Sequence[_Spread], resamples: int, seed: int) -> Floats:
    """The largest |t| (resamples,) among the comparisons, in samples of units and of texts without a difference.

    Units u and texts v are weighted by (1 + g_u) (1 + h_v) with g and h standard normal. The sum is divided by its own standard
    deviation, and by the root of a chi-squared variable over its degrees of freedom, the same quantile of it for all comparisons.
    """
    if not family:
        return np.empty(0)
    rng = np.random.default_rng(seed)
    n_units = max(len(spread.of_units) for spread in family)
    n_texts = max(len(spread.of_texts) for spread in family)
    sums = np.empty((len(family), resamples))
    step = max(1, _BATCH_VALUES // (n_units + n_texts))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        g, h = rng.standard_normal((n_units, size)), rng.standard_normal((n_texts, size))
        for row, spread in enumerate(family):
            mine, texts = g[: len(spread.of_units)], h[: len(spread.of_texts)]
            both = np.einsum("ur,ur->r", mine, spread.of_both @ texts)
            sums[row, start : start + size] = spread.of_units @ mine + spread.of_texts @ texts + both
    t = np.abs(sums) / np.sqrt((sums**2).mean(axis=1, keepdims=True))
    quantile = rng.random(resamples)
    for row, spread in enumerate(family):
        t[row] /= np.sqrt(stats.chi2.ppf(quantile, spread.freedom) / spread.freedom)
    return np.asarray(t.max(axis=0), dtype=np.float64)
