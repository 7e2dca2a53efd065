"""Whether the classes of a scorer's items are told apart by a rule that reads no text: only a window's length and the place of its mark.

Such a rule must be at chance, whatever the unit. If it is not, a judge may have followed the same trace of the sampling.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autointerp.stats.comparison import mean_estimate
from autointerp.stats.estimates import MeanEstimate

FOLDS = 5
"""The units are divided into this many parts; each part is answered by a rule that was fitted to the others."""
RIDGE, STEPS = 1e-2, 12
COLUMNS = ("unit_id", "truth", "length", "place")
"""Columns of a table of items: `length` in tokens; `place` of the mark as a share of the length, or of a text without a mark 0."""

Floats = NDArray[np.float64]


def balanced_accuracy(items: pd.DataFrame, **intervals: Any) -> MeanEstimate:
    """The balanced accuracy of a logistic regression on length and place of the mark, as a mean over units with its interval.

    The regression sees the length and its difference from the mean of the unit's items, which a judge who is shown several of them can
    tell too; the place, its square and its distance from the end. It is fitted to other units than those that it is tested on, with
    equal weight for each unit and class. `intervals`: confidence, resamples, seed. No mean for fewer than two units with both classes.
    """
    both = items.groupby("unit_id")["truth"].transform("nunique") == 2
    items = items.loc[both].sort_values(list(COLUMNS), ignore_index=True)
    units, unit = np.unique(items["unit_id"].to_numpy(dtype=str), return_inverse=True)
    if len(units) < 2:
        return mean_estimate([], **intervals)
    truth = items["truth"].to_numpy(dtype=bool)
    features = _features(items, unit)
    weight = 1 / np.bincount(2 * unit + truth)[2 * unit + truth]
    fold = np.random.default_rng(len(units)).permutation(len(units))[unit] % FOLDS
    answers = np.zeros(len(items), dtype=bool)
    for part in range(min(FOLDS, len(units))):
        rest = fold != part
        answers[~rest] = features[~rest] @ _fit(features[rest], truth[rest], weight[rest]) > 0
    right = np.bincount(unit, weight * (answers == truth)) / 2
    return mean_estimate(right, **intervals)


def _features(items: pd.DataFrame, unit: NDArray[np.int64]) -> Floats:
    length, place = (items[name].to_numpy(dtype=np.float64) for name in ("length", "place"))
    mean = (np.bincount(unit, length) / np.bincount(unit))[unit]
    columns = np.stack([length, np.log(length + 1), length - mean, place, place**2, place * length], axis=1)
    spread = columns.std(axis=0)
    columns = (columns - columns.mean(axis=0)) / np.where(spread > 1e-9, spread, 1)
    return np.column_stack([np.ones(len(columns)), columns])


def _fit(x: Floats, truth: NDArray[np.bool_], weight: Floats) -> Floats:
    """Weights of a logistic regression with a small penalty, by Newton's method."""
    coefficients = np.zeros(x.shape[1])
    penalty = RIDGE * weight.sum() * np.eye(x.shape[1])
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-np.clip(x @ coefficients, -30, 30)))
        gradient = x.T @ (weight * (truth - p)) - penalty @ coefficients
        hessian = (x * (weight * p * (1 - p))[:, None]).T @ x + penalty
        coefficients = coefficients + np.linalg.solve(hessian, gradient)
    return coefficients
