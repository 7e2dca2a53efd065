"""The logistic curve of presence against the logarithm of a frequency: its midpoint, with an interval.

The probability that a concept is present is 1 / (1 + exp(-b (x - m))), b >= 0, with x the base-10 logarithm of its frequency: of two
concepts, the more frequent one is not the less likely. The midpoint m is where half of the concepts are present.

Likelihoods are penalised by a power of Jeffreys' prior (Firth, "Bias reduction of maximum likelihood estimates", Biometrika 80, 1993), so
that the slope is finite where one frequency separates present from absent concepts, and the interval is that of the penalised profile
likelihood (Heinze and Schemper, "A solution to the problem of separation in logistic regression", Statistics in Medicine 21, 2002). It may
be open: if a curve without slope, which has its midpoint at infinity, is not rejected, an end is infinite.

The power is the square root. With the whole prior, intervals of few concepts contain the midpoint too often, and without it too seldom
if the curve is steep.

If the same concept has several rows, as with several dictionaries, the rows of a concept are no independent evidence. The likelihood
ratio is then divided by the ratio of the midpoint's variance over concepts to its model variance (Chandler and Bate, "Inference for
clustered data using the independence loglikelihood", Biometrika 94, 2007, the vertical adjustment for one parameter).

Arrays have the shape (R, n): R fits of n rows each are computed together, which costs hardly more than one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from scipy.stats import chi2

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Shape = Literal["fitted", "separated", "all_present", "all_absent", "no_slope", "no_data"]

_SLOPES = np.log([1e-3, 1e3])
"""Range in which the slope of a profile is looked for, in logarithms; for one standard deviation of x."""
_FARTHEST = 1e6
"""Distance of a midpoint, in standard deviations of x, that stands for infinity."""
_WEIGHT = 0.25
"""Weight of the logarithm of the information's determinant in the penalised log-likelihood; Jeffreys' prior has 0.5."""
_GOLDEN = (np.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class PresenceCurve:
    """A fitted curve. An end of the interval that is infinite is open."""

    midpoint: float | None
    """Where half are present; None if all are present or absent, or if presence does not rise with frequency."""
    slope: float | None
    """Of the log-odds, for one unit of x."""
    low: float
    high: float
    shape: Shape
    n: int
    n_present: int

    @property
    def is_closed(self) -> bool:
        """Whether both ends of the interval are finite."""
        return bool(np.isfinite(self.low) and np.isfinite(self.high))

    def at(self, x: ArrayLike) -> Floats | None:
        """The probability at each x; None without a midpoint."""
        if self.midpoint is None or self.slope is None:
            return None
        return np.asarray(expit(self.slope * (np.asarray(x, dtype=np.float64) - self.midpoint)))


def fit(
    x: ArrayLike, present: ArrayLike, *, groups: ArrayLike | None = None, confidence: float = 0.95
) -> PresenceCurve:
    """The curve of `present` (n,), booleans, against x (n,). Rows with equal `groups` (n,) are of one concept."""
    one_x, one_y = np.asarray(x, dtype=np.float64)[None], np.asarray(present, dtype=bool)[None]
    return fit_many(one_x, one_y, groups=groups, confidence=confidence)[0]


def fit_many(
    x: Floats, present: Bools, *, groups: ArrayLike | None = None, confidence: float = 0.95
) -> list[PresenceCurve]:
    """The curves of R fits, x and `present` (R, n); all have the same `groups` (n,)."""
    n = x.shape[1]
    if not n:
        return [PresenceCurve(None, None, -np.inf, np.inf, "no_data", 0, 0) for _ in x]
    centre, scale = x.mean(axis=1), x.std(axis=1)
    scale[scale == 0] = 1.0
    z = (x - centre[:, None]) / scale[:, None]
    intercept, slope = _firth(z, present)
    rises = slope > 0
    midpoint = np.where(rises, -intercept / np.where(rises, slope, 1.0), 0.0)
    flat = np.maximum(*(_at_infinity(z, present, side) for side in (-1, 1)))
    best = np.where(rises, np.maximum(_profile(midpoint, z, present), flat), flat)
    ratio = np.ones(len(x))
    if groups is not None:
        ratio = np.array(
            [_variance_ratio(*rows, np.asarray(groups)) for rows in zip(z, present, midpoint, slope, strict=True)]
        )
    floor = best - chi2.ppf(confidence, 1) / 2 * ratio
    low, high = (_end(side, z, present, floor, midpoint, rises) * scale + centre for side in (-1, 1))
    curves = []
    for row in range(len(x)):
        shape = _shape(x[row], present[row], bool(rises[row]))
        known = shape in ("fitted", "separated")
        curves.append(
            PresenceCurve(
                float(midpoint[row] * scale[row] + centre[row]) if known else None,
                float(slope[row] / scale[row]) if known else None,
                float(low[row]), float(high[row]), shape, n, int(present[row].sum()),
            )
        )  # fmt: skip
    return curves


def _shape(x: Floats, y: Bools, rises: bool) -> Shape:
    if y.all() or not y.any():
        return "all_present" if y.all() else "all_absent"
    if not rises:
        return "no_slope"
    return "separated" if x[~y].max() < x[y].min() else "fitted"


def _information(z: Floats, p: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Sums (R,) of w, w z and w z^2 with w = p (1 - p), and the determinant of the information."""
    w = p * (1 - p)
    s0, s1, s2 = w.sum(axis=1), (w * z).sum(axis=1), (w * z * z).sum(axis=1)
    return s0, s1, s2, np.maximum(s0 * s2 - s1 * s1, 1e-300)


def _firth(z: Floats, y: Bools) -> tuple[Floats, Floats]:
    """Intercepts and slopes (R,) of greatest penalised likelihood, by Newton's method with bounded steps."""
    intercept, slope = np.zeros(len(z)), np.zeros(len(z))
    for _ in range(100):
        p = expit(intercept[:, None] + slope[:, None] * z)
        s0, s1, s2, det = _information(z, p)
        hat = p * (1 - p) * (s2[:, None] - 2 * s1[:, None] * z + s0[:, None] * z * z) / det[:, None]
        residual = y - p + 2 * _WEIGHT * hat * (0.5 - p)
        g0, g1 = residual.sum(axis=1), (residual * z).sum(axis=1)
        step = np.stack([s2 * g0 - s1 * g1, s0 * g1 - s1 * g0]) / det
        step *= np.minimum(1.0, 2.0 / np.maximum(np.abs(step).max(axis=0), 1e-300))
        intercept, slope = intercept + step[0], slope + step[1]
        if np.abs(step).max() < 1e-9:
            break
    return intercept, slope


def _penalised(slope: Floats, midpoint: Floats, z: Floats, y: Bools) -> Floats:
    """The penalised log-likelihood (R,)."""
    logits = slope[:, None] * (z - midpoint[:, None])
    likelihood = -np.logaddexp(0.0, np.where(y, -logits, logits)).sum(axis=1)
    return np.asarray(likelihood + _WEIGHT * np.log(_information(z, expit(logits))[3]))


def _profile(midpoint: Floats, z: Floats, y: Bools) -> Floats:
    """The greatest penalised log-likelihood (R,) over slopes, by golden section in the slope's logarithm."""
    shift = -np.log(np.maximum(1.0, np.abs(midpoint)))  # a distant midpoint needs a small slope
    low, high = _SLOPES[0] + shift, _SLOPES[1] + shift
    value: Callable[[Floats], Floats] = lambda log_b: _penalised(np.exp(log_b), midpoint, z, y)  # noqa: E731
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = value(left), value(right)
    for _ in range(20):
        goes_left = at_left > at_right
        low, high = np.where(goes_left, low, left), np.where(goes_left, right, high)
        new = np.where(goes_left, high - _GOLDEN * (high - low), low + _GOLDEN * (high - low))
        at_new = value(new)
        left, right = np.where(goes_left, new, right), np.where(goes_left, left, new)
        at_left, at_right = np.where(goes_left, at_new, at_right), np.where(goes_left, at_left, at_new)
    return np.asarray(np.maximum(at_left, at_right))


def _at_infinity(z: Floats, y: Bools, side: int) -> Floats:
    """The penalised log-likelihood (R,) of a midpoint at infinity: one probability for all, at most a half above, at least a half below."""
    n, k = y.shape[1], y.sum(axis=1)
    more = 2 * _WEIGHT
    p = (k + more) / (n + 2 * more)
    p = np.minimum(p, 0.5) if side > 0 else np.maximum(p, 0.5)
    spread = np.maximum(n * np.square(z).sum(axis=1), 1e-300)
    return np.asarray((k + more) * np.log(p) + (n - k + more) * np.log1p(-p) + _WEIGHT * np.log(spread))


def _end(side: int, z: Floats, y: Bools, floor: Floats, midpoint: Floats, rises: Bools) -> Floats:
    """The ends (R,) of the intervals on one side: where the profile falls below `floor` (R,); infinite where it does not.

    Bisection between a midpoint inside the interval and a distant one, on a scale that is linear near the data and logarithmic far off.
    """
    is_open = _at_infinity(z, y, side) >= floor
    # Where presence does not rise, the likeliest midpoint is at infinity: on the side that is open, so beyond the other end.
    inside = np.arcsinh(np.where(rises, midpoint, -side * _FARTHEST))
    outside = np.full(len(z), float(np.arcsinh(side * _FARTHEST)))
    for _ in range(26):
        middle = (inside + outside) / 2
        above = _profile(np.sinh(middle), z, y) >= floor
        inside, outside = np.where(above, middle, inside), np.where(above, outside, middle)
    return np.where(is_open, side * np.inf, np.sinh((inside + outside) / 2))


def _variance_ratio(z: Floats, y: Bools, midpoint: float, slope: float, groups: NDArray[np.generic]) -> float:
    """Variance of the midpoint over concepts, divided by its variance if all rows were independent; at least 1."""
    distinct, number = np.unique(groups, return_inverse=True)
    if len(distinct) == len(z) or slope <= 0:
        return 1.0
    p = expit(slope * (z - midpoint))
    design = np.column_stack([np.full_like(z, -slope), z - midpoint])
    """Derivatives of the logits by midpoint and slope."""
    inverse = np.linalg.pinv(design.T @ (design * (p * (1 - p))[:, None]))
    sums = np.zeros((len(distinct), 2))
    np.add.at(sums, number, design * (y - p)[:, None])
    robust = inverse @ (sums.T @ sums) @ inverse * len(distinct) / max(len(distinct) - 1, 1)
    return max(1.0, float(robust[0, 0] / inverse[0, 0]))
