"""A sparse logistic classifier of texts by their features, with cross-validation.

The mean logistic loss plus a penalty times the sum of absolute weights is minimised by scipy's L-BFGS-B over the positive and the
negative parts of the weights, which makes it smooth with bounds. The penalty is chosen by cross-validation within the
training part of each fold, so that the held-out texts decide nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse, special, stats

FOLDS = 5
FRACTIONS = (0.5, 0.25, 0.12, 0.06)
"""Penalties that are tried, as fractions of the smallest at which all weights are 0."""
PERMUTATIONS = 20
"""Fits with labels drawn at random, for the range of the AUROC by chance."""

Floats = NDArray[np.float64]
Labels = NDArray[np.bool_]


class Fitted(NamedTuple):
    """A classifier of n columns.

    `weights` (n,) belong to columns scaled to a largest value of 1. `folds` (n,): number of folds in which a weight is not 0. `auroc`:
    the mean over folds of the AUROC of texts held out. `chance_low`, `chance_high`: range of the same with permuted labels.
    """

    weights: Floats
    folds: NDArray[np.int64]
    auroc: float
    chance_low: float
    chance_high: float
    penalty: float


def fit(table: sparse.csc_array, labels: Labels, seed: int) -> Fitted:
    """Fit all rows, and measure the same procedure on held-out ones. Rows are texts; each class needs `FOLDS` of them."""
    rows = sparse.csr_array(table)
    rng = np.random.default_rng([seed, 6])
    auroc, folds = _held_out(rows, labels, rng)
    chance = [_held_out(rows, rng.permutation(labels), rng, FRACTIONS[1:2])[0] for _ in range(PERMUTATIONS)]
    fraction = _best_fraction(rows, labels, rng)
    weights, _, penalty = _minimised(rows, labels, fraction)
    return Fitted(weights, folds, auroc, min(chance), max(chance), penalty)


def _held_out(
    rows: sparse.csr_array, labels: Labels, rng: np.random.Generator, fractions: tuple[float, ...] = FRACTIONS
) -> tuple[float, NDArray[np.int64]]:
    """The mean held-out AUROC, and in how many folds each weight is not 0."""
    values, kept = [], np.zeros(rows.shape[1], dtype=np.int64)
    for held in _folds(labels, rng):
        fraction = _best_fraction(rows[~held], labels[~held], rng, fractions)
        weights, intercept, _ = _minimised(rows[~held], labels[~held], fraction)
        kept += weights != 0
        values.append(_auroc(rows[held] @ weights + intercept, labels[held]))
    return float(np.mean(values)), kept


def _best_fraction(
    rows: sparse.csr_array, labels: Labels, rng: np.random.Generator, fractions: tuple[float, ...] = FRACTIONS
) -> float:
    """The fraction with the smallest held-out loss; of equal ones the largest, which keeps the fewest columns."""
    if len(fractions) == 1:
        return fractions[0]
    losses = np.zeros(len(fractions))
    for held in _folds(labels, rng):
        for number, fraction in enumerate(fractions):
            weights, intercept, _ = _minimised(rows[~held], labels[~held], fraction)
            losses[number] += _loss(rows[held] @ weights + intercept, labels[held])
    return fractions[int(np.argmin(losses))]


def _folds(labels: Labels, rng: np.random.Generator) -> Iterator[Labels]:
    """Masks of the rows held out, with both classes in each fold."""
    fold = np.zeros(len(labels), dtype=np.int64)
    smallest = min(int(labels.sum()), int((~labels).sum()))
    for value in (True, False):
        of_class = np.flatnonzero(labels == value)
        fold[rng.permutation(of_class)] = np.arange(len(of_class)) % min(FOLDS, smallest)
    for number in range(int(fold.max()) + 1):
        yield fold == number


def _minimised(rows: sparse.csr_array, labels: Labels, fraction: float) -> tuple[Floats, float, float]:
    """Weights, intercept and penalty."""
    n, width = rows.shape
    transposed = sparse.csr_array(rows.T)
    share = float(labels.mean())
    largest = float(np.abs(transposed @ (labels - share)).max(initial=0.0)) / n
    penalty = fraction * max(largest, 1e-9)

    def objective(parameters: Floats) -> tuple[float, Floats]:
        weights, intercept = parameters[:width] - parameters[width:-1], parameters[-1]
        scores = rows @ weights + intercept
        residual = (special.expit(scores) - labels) / n
        gradient = transposed @ residual
        value = _loss(scores, labels) + penalty * float(parameters[:-1].sum())
        return value, np.concatenate([gradient + penalty, penalty - gradient, [residual.sum()]])

    start = np.zeros(2 * width + 1)
    start[-1] = special.logit(share)
    bounds = [(0.0, None)] * (2 * width) + [(None, None)]
    found = optimize.minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 300}).x
    weights = found[:width] - found[width:-1]
    return (
        np.where(np.abs(weights) > 1e-6 * np.abs(weights).max(initial=1e-12), weights, 0.0),
        float(found[-1]),
        penalty,
    )


def _loss(scores: Floats, labels: Labels) -> float:
    """The mean logistic loss."""
    return float(np.logaddexp(0.0, np.where(labels, -scores, scores)).mean())


def _auroc(scores: Floats, labels: Labels) -> float:
    n, m = int(labels.sum()), int((~labels).sum())
    return float((stats.rankdata(scores)[labels].sum() - n * (n + 1) / 2) / (n * m))
