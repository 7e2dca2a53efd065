"""Logistic regression that is drawn to given weights: with few labelled units, what is known beforehand counts more than the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_STEPS = 50
_CONVERGED = 1e-8
_MOST = 30.0


@dataclass(frozen=True)
class Prior:
    """Weights before any data, intercept first, and how strongly each is held: the precision of a normal distribution around it."""

    mean: tuple[float, ...]
    precision: tuple[float, ...]


def fit(scores: NDArray[np.floating], right: NDArray[np.bool_], prior: Prior) -> Floats:
    """The weights (1 + K,), intercept first, of largest posterior probability, given scores (n, K) of which some are `right`.

    Newton's method on a convex function; a step that does not improve it is halved.
    """
    design = np.column_stack([np.ones(len(scores)), scores]).astype(np.float64)
    mean, precision, target = np.array(prior.mean), np.array(prior.precision), right.astype(np.float64)

    def loss(weights: Floats) -> float:
        z = design @ weights
        return float(np.sum(np.logaddexp(0, z) - target * z) + 0.5 * np.sum(precision * (weights - mean) ** 2))

    weights, least = mean.copy(), loss(mean)
    for _ in range(_STEPS):
        p = probability(design @ weights)
        gradient = design.T @ (p - target) + precision * (weights - mean)
        curvature = (design * (p * (1 - p))[:, None]).T @ design + np.diag(precision)
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while (next_loss := loss(weights - size * step)) > least and size > _CONVERGED:
            size /= 2
        weights = weights - size * step
        if least - next_loss < _CONVERGED:
            break
        least = next_loss
    return weights


def log_odds(scores: NDArray[Any], weights: Floats) -> NDArray[Any]:
    """The log-odds (...,) of scores (..., K)."""
    found: NDArray[Any] = scores @ weights[1:].astype(scores.dtype) + scores.dtype.type(weights[0])
    return found


def probability(odds: NDArray[Any]) -> NDArray[Any]:
    """The probability of log-odds."""
    found: NDArray[Any] = 1 / (1 + np.exp(-np.clip(odds, -_MOST, _MOST)))
    return found
