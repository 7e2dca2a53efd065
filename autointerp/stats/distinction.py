"""How far the explanations of a kind of unit tell its units from their neighbours: a mean of shares over units, with its interval."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from autointerp.stats import means

SHARES = (0.0, 1.0)
"""The scale of a unit's figure."""


class Mean(NamedTuple):
    """A mean over units with its interval, or the reason why one of them is missing."""

    value: float | None
    low: float | None
    high: float | None
    why: str | None
    n: int


def mean_told(values: ArrayLike, *, confidence: float) -> Mean:
    """The mean of units' shares, of which NaN stands for none.

    The interval is that of `means.mean_limits`. If all units have the same share, as those of a perfect judge have, it is that of
    `means.rare`: the perfect share of few units does not show that it is perfect.
    """
    sample = means.finite(values)
    if not len(sample):
        return Mean(None, None, None, "no unit has a value", 0)
    mean, n = float(sample.mean()), len(sample)
    if n >= means.MIN_FOR_INTERVAL and float(np.ptp(sample)) < means.SAME:
        low, high = means.rare(means.spread(sample), confidence, SHARES)
        return Mean(mean, max(low, 0.0), min(high, 1.0), None, n)
    found = means.mean_limits(sample, confidence=confidence, scale=SHARES)
    return Mean(mean, found.low, found.high, found.why, n)
