"""Coverage against risk: how many units have an explanation that is at least so probable, and how many of these are right."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy import stats

from autointerp.explorer.propagation.decisions import Propagation

PRECISION = 0.9
"""Share of propagated explanations that should be right."""
LEVELS = (0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0)
_TAIL = 0.05


class Point(BaseModel):
    """What is propagated if `probability` is the least."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    probability: float
    """Least probability of an explanation that is propagated."""
    units: int
    """Units without a label of their own that have an explanation of this probability."""
    coverage: float
    """Their share of all units without a label of their own."""
    precision: float | None
    """Mean probability of these explanations: the share that is expected to be right. Null if there is none."""
    checked: int
    """Labelled units, drawn by chance, for which the judge graded the explanation that they would have been given, of this probability."""
    right: int
    """How many of the graded explanations were right."""
    low: float | None
    high: float | None
    """Interval of the share of right ones that covers 90% (Clopper and Pearson 1934). Null if none was checked."""


def points(probability: NDArray[np.float64], propagation: Propagation, extra: float | None = None) -> list[Point]:
    """The curve at `LEVELS` and one more probability, the highest first."""
    levels = sorted({*LEVELS, *([] if extra is None else [extra])}, reverse=True)
    return [point(probability, propagation, level) for level in levels]


def point(probability: NDArray[np.float64], propagation: Propagation, least: float) -> Point:
    """The point of the curve at one probability."""
    kept = probability[(probability >= least) & (probability > 0)]
    checked = propagation.own_known & (propagation.own.probability >= least)
    n, right = int(checked.sum()), int((checked & propagation.own_right).sum())
    return Point(
        probability=least,
        units=len(kept),
        coverage=len(kept) / max(1, len(probability)),
        precision=float(kept.mean()) if len(kept) else None,
        checked=n,
        right=right,
        low=(float(stats.beta.ppf(_TAIL, right, n - right + 1)) if right else 0.0) if n else None,
        high=(float(stats.beta.ppf(1 - _TAIL, right + 1, n - right)) if right < n else 1.0) if n else None,
    )


def least_probability(probability: NDArray[np.float64], precision: float = PRECISION) -> float | None:
    """The least probability at which a share `precision` of the propagated explanations is expected to be right; None if none is probable
    enough."""
    ordered = np.sort(probability[probability > 0])[::-1]
    expected = np.cumsum(ordered) / np.arange(1, len(ordered) + 1)
    enough = np.flatnonzero(expected >= precision)
    return float(ordered[enough[-1]]) if len(enough) else None
