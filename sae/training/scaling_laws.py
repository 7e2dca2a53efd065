"""Scaling laws: power laws fitted to a grid of trainings.

After Scaling Monosemanticity, "Scaling laws": the loss by compute at the best number of features and steps for that compute, the
growth of both with compute, and the fall of the best learning rate. A law is fitted only to what the grid measured: optima at its
edge are marked and left out, and with too few points a law is withheld.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

MIN_POINTS = 3
"""Points that a law needs: a line through two points always fits."""


@dataclass(frozen=True)
class Cell:
    """One training of the grid. `compute` is in operations; `loss` is that of `TrainReport`."""

    name: str
    d_sae: int
    tokens: int
    steps: int
    lr: float
    compute: float
    loss: float
    l0: float
    explained_variance: float
    dead_fraction: float


@dataclass(frozen=True)
class Law:
    """`y = coefficient * x ** exponent` between the measured `low` and `high`; `se` is the exponent's standard error."""

    coefficient: float
    exponent: float
    se: float
    points: int
    low: float
    high: float

    def at(self, x: float) -> float:
        """The law's value."""
        return self.coefficient * math.exp(self.exponent * math.log(x))


@dataclass(frozen=True)
class Withheld:
    """The reason why there is no law."""

    withheld: str


@dataclass(frozen=True)
class Surface:
    """`loss = coefficient * d_sae ** features * tokens ** tokens` at the best lr; `residual` is the rms error of log loss."""

    coefficient: float
    features: float
    features_se: float
    tokens: float
    tokens_se: float
    residual: float
    points: int


@dataclass(frozen=True)
class Optimum:
    """The best number of features for one budget of compute. `edge` means that the best one lies at the grid's edge."""

    compute: float
    d_sae: float
    tokens: float
    steps: float
    loss: float
    edge: bool
    slice: tuple[tuple[float, float], ...]
    """(d_sae, loss) along the budget."""


@dataclass(frozen=True)
class BestRate:
    """The best learning rate for one number of features and tokens. `edge` means that it lies at the grid's edge."""

    compute: float
    d_sae: int
    tokens: int
    lr: float
    edge: bool


@dataclass(frozen=True)
class Scaling:
    """All laws of a sweep, with the optima that they are fitted to."""

    surface: Surface | Withheld
    optima: tuple[Optimum, ...]
    loss: Law | Withheld
    features: Law | Withheld
    steps: Law | Withheld
    rates: tuple[BestRate, ...]
    lr: Law | Withheld


def fit(cells: Sequence[Cell]) -> Scaling:
    """Fit all laws of a sweep."""
    best = _best(cells)
    optima = tuple(_optima(best))
    inside = [o for o in optima if not o.edge]
    why = "too few budgets with their best number of features inside the grid"
    rates = tuple(_rates(cells))
    return Scaling(
        _surface(best),
        optima,
        power_law([(o.compute, o.loss) for o in inside], why),
        power_law([(o.compute, o.d_sae) for o in inside], why),
        power_law([(o.compute, o.steps) for o in inside], why),
        rates,
        power_law(
            [(r.compute, r.lr) for r in rates if not r.edge], "too few trainings with their best lr inside the grid"
        ),
    )


def power_law(points: Iterable[tuple[float, float]], why: str) -> Law | Withheld:
    """A line by least squares through the logarithms; withheld with the reason `why` if there are fewer than MIN_POINTS different
    x."""
    x, y = (np.log(np.array(axis, dtype=float)) for axis in ([*zip(*points, strict=True)] or [(), ()]))
    if len(np.unique(np.round(x, 9))) < MIN_POINTS:
        return Withheld(f"{why}: {len(x)} of at least {MIN_POINTS}")
    (constant, exponent), errors, _ = _least_squares(np.column_stack([np.ones_like(x), x]), y)
    low, high = np.exp([x.min(), x.max()]).tolist()
    return Law(math.exp(constant), float(exponent), float(errors[1]), len(x), low, high)


def lowest(points: Iterable[tuple[float, float]]) -> tuple[float, float, bool]:
    """`(x, y, edge)` of the minimum of a curve: of the parabola in the logarithms through the lowest point and its neighbours.

    At an edge, it is the lowest point itself, and there may be lower ones beyond.
    """
    curve = sorted(points)
    lowest_ = min(range(len(curve)), key=lambda i: curve[i][1])
    if not 0 < lowest_ < len(curve) - 1:
        return *curve[lowest_], True
    x, y = np.log(np.array(curve[lowest_ - 1 : lowest_ + 2])).T
    a, b, c = np.polyfit(x - x[1], y, 2)
    if not a > 0:
        return *curve[lowest_], False
    # y = a u^2 + b u + c with u = log x - log x[1] is lowest at u = -b / 2a, where it is c - b^2 / 4a.
    return math.exp(x[1] - b / (2 * a)), math.exp(c - b * b / (4 * a)), False


def as_json(cells: Sequence[Cell], scaling: Scaling) -> dict[str, Any]:
    """The cells and laws as plain data."""
    return {"cells": [asdict(c) for c in cells], "laws": asdict(scaling)}


def _best(cells: Sequence[Cell]) -> list[Cell]:
    """For each number of features and tokens, the cell of the best learning rate."""
    best: dict[tuple[int, int], Cell] = {}
    for c in cells:
        key = (c.d_sae, c.tokens)
        if key not in best or c.loss < best[key].loss:
            best[key] = c
    return [best[key] for key in sorted(best)]


def _surface(best: Sequence[Cell]) -> Surface | Withheld:
    if len({c.d_sae for c in best}) < MIN_POINTS or len({c.tokens for c in best}) < MIN_POINTS:
        return Withheld(f"at least {MIN_POINTS} different d_sae and {MIN_POINTS} different tokens are needed")
    f, t, y = np.log([[c.d_sae, c.tokens, c.loss] for c in best]).T
    coefficients, errors, residual = _least_squares(np.column_stack([np.ones_like(f), f, t]), y)
    constant, features, tokens = coefficients.tolist()
    return Surface(
        math.exp(constant), features, float(errors[1]), tokens, float(errors[2]), residual, len(best)
    )  # fmt: skip


def _optima(best: Sequence[Cell]) -> Iterator[Optimum]:
    """The optimum of each budget, log(d_sae * tokens), that at least MIN_POINTS numbers of features reach with their tokens."""
    curves: dict[int, list[Cell]] = {}
    for c in best:
        curves.setdefault(c.d_sae, []).append(c)
    compute_per_product = best[0].compute / (best[0].d_sae * best[0].tokens)
    tokens_per_step = best[0].tokens / best[0].steps
    for budget in sorted({round(math.log(c.d_sae * c.tokens), 6) for c in best}):
        losses = [(float(d), loss) for d, curve in curves.items() if (loss := _loss_at(curve, budget - math.log(d)))]
        if len(losses) >= MIN_POINTS:
            d_sae, loss, edge = lowest(losses)
            tokens = math.exp(budget) / d_sae
            compute = compute_per_product * math.exp(budget)
            yield Optimum(compute, d_sae, tokens, tokens / tokens_per_step, loss, edge, tuple(sorted(losses)))


def _loss_at(curve: Sequence[Cell], log_tokens: float) -> float | None:
    """The loss after exp(log_tokens) tokens, interpolated along the logarithms; None outside the measured range."""
    x, y = np.log([[c.tokens, c.loss] for c in curve]).T
    if not x[0] - 1e-6 <= log_tokens <= x[-1] + 1e-6:
        return None
    return float(np.exp(np.interp(log_tokens, x, y)))


def _rates(cells: Sequence[Cell]) -> Iterator[BestRate]:
    by_size: dict[tuple[int, int], list[Cell]] = {}
    for c in cells:
        by_size.setdefault((c.d_sae, c.tokens), []).append(c)
    for (d_sae, tokens), group in sorted(by_size.items()):
        if len(group) >= MIN_POINTS:
            lr, _, edge = lowest((c.lr, c.loss) for c in group)
            yield BestRate(group[0].compute, d_sae, tokens, lr, edge)


def _least_squares(A: Any, y: Any) -> tuple[Any, Any, float]:
    """Coefficients, their standard errors, and the root mean square of the residuals."""
    coefficients = np.linalg.lstsq(A, y, rcond=None)[0]
    squares = float(((y - A @ coefficients) ** 2).sum())
    covariance = squares / max(len(y) - A.shape[1], 1) * np.linalg.inv(A.T @ A)
    return coefficients, np.sqrt(np.diag(covariance)), math.sqrt(squares / len(y))
