"""Coverage against risk: how many units have an explanation that is at least so probable, and how many of these are right."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy import stats

from autointerp.explorer.propagation.decisions import Propagation

PRECISION = 0.9
"""Share of propagated explanations that should be right."""
BANDS = (0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0)
"""Least probabilities of the bands of the curve."""
_TAIL = 0.05


class Checked(BaseModel):
    """How many explanations the judge checked and found right, and an interval of the share that covers 90% (Clopper and Pearson 1934)."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    n: int = 0
    """Explanations that were checked."""
    right: int = 0
    """Those that the judge found right."""
    low: float = 0.0
    """Lower end of the interval of the share of right ones."""
    high: float = 1.0
    """Upper end."""

    @classmethod
    def of(cls, right: NDArray[np.bool_]) -> Checked:
        """Of the answers about some explanations."""
        n, hits = len(right), int(right.sum())
        low = float(stats.beta.ppf(_TAIL, hits, n - hits + 1)) if hits else 0.0
        high = float(stats.beta.ppf(1 - _TAIL, hits + 1, n - hits)) if hits < n else 1.0
        return cls(n=n, right=hits, low=low, high=high)


class Point(BaseModel):
    """What is propagated if `probability` is the least, and how the explanations between it and the next higher one were checked."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    probability: float
    """Least probability of an explanation that is propagated."""
    units: int
    """Units without a label of their own that have an explanation of this probability."""
    coverage: float
    """Their share of all units without a label of their own."""
    precision: float | None
    """Mean probability of these explanations: the share that is expected to be right. Null if there is none."""
    checked: Checked
    """Checks of explanations of a probability from this to the next higher point: those of other units, each by probabilities that were fitted
    without it."""


def points(probability: NDArray[np.float64], propagation: Propagation, extra: float | None = None) -> tuple[Point, ...]:
    """The curve at `BANDS` and one more probability, the highest first."""
    levels = sorted({*BANDS, *([] if extra is None else [extra])}, reverse=True)
    tested, known = propagation.tested.probability, propagation.known
    found = []
    for least, next_higher in zip(levels, [np.inf, *levels], strict=False):
        kept = probability[(probability >= least) & (probability > 0)]
        here = known & (tested >= least) & (tested < next_higher)
        found.append(
            Point(
                probability=least,
                units=len(kept),
                coverage=len(kept) / max(1, len(probability)),
                precision=float(kept.mean()) if len(kept) else None,
                checked=Checked.of(propagation.right[here]),
            )
        )
    return tuple(found)


def least_probability(probability: NDArray[np.float64], precision: float = PRECISION) -> float | None:
    """The least probability at which a share `precision` of the propagated explanations is expected to be right; None if none is probable
    enough."""
    ordered = np.sort(probability[probability > 0])[::-1]
    expected = np.cumsum(ordered) / np.arange(1, len(ordered) + 1)
    enough = np.flatnonzero(expected >= precision)
    return float(ordered[enough[-1]]) if len(enough) else None
