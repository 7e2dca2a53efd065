"""Worlds of concepts with known frequencies, which are present with a known probability."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from autointerp.stats.presence_curve import fit_many

RANGE = (-8.0, -3.0)
"""Base-10 logarithms of the concepts' frequencies."""


class Concepts(NamedTuple):
    """`n` concepts, of which half are present at `midpoint`; the log-odds rise by `slope` for a factor of ten in frequency.

    With `tokens`, their frequencies are known from counts in a text of so many tokens, and concepts without a count are left out.
    """

    n: int
    slope: float
    midpoint: float = -5.0
    tokens: float | None = None


class Coverage(NamedTuple):
    """Share of runs whose interval contains the midpoint, share with an open interval, and the mean error of the midpoint."""

    share: float
    is_open: float
    bias: float


class Repeated(NamedTuple):
    """Share of runs whose interval contains the midpoint, with concepts as groups and with all rows taken as independent."""

    grouped: float
    independent: float


def coverage(world: Concepts, *, runs: int, seed: int) -> Coverage:
    rng = np.random.default_rng(seed)
    x = rng.uniform(*RANGE, (runs, world.n))
    present = _drawn(rng, world.slope * (x - world.midpoint))
    if world.tokens is None:
        curves = fit_many(x, present)
    else:
        counts = rng.poisson(10**x * world.tokens)
        curves = []
        for row in range(runs):
            seen = counts[row] > 0
            curves += fit_many(np.log10(counts[row : row + 1, seen] / world.tokens), present[row : row + 1, seen])
    errors = [curve.midpoint - world.midpoint for curve in curves if curve.midpoint is not None]
    return Coverage(
        float(np.mean([curve.low <= world.midpoint <= curve.high for curve in curves])),
        float(np.mean([not curve.is_closed for curve in curves])),
        float(np.mean(errors)),
    )


def repeated(*, n: int, dictionaries: int, spread: float, runs: int, seed: int) -> Repeated:
    """Dictionaries of growing size over the same concepts, each concept easier or harder than its frequency says in all of them."""
    rng = np.random.default_rng(seed)
    alive = 3 + np.arange(dictionaries) / 2
    x = (rng.uniform(*RANGE, (runs, n, 1)) + alive).reshape(runs, -1)
    ease = rng.normal(0, spread, (runs, n)).repeat(dictionaries, axis=1)
    present = _drawn(rng, 2 * (x + ease + 1))
    groups = np.arange(n).repeat(dictionaries)
    shares = [
        float(np.mean([curve.low <= -1 <= curve.high for curve in fit_many(x, present, groups=given)]))
        for given in (groups, None)
    ]
    return Repeated(*shares)


def _drawn(rng: np.random.Generator, logits: np.ndarray) -> np.ndarray:
    return np.asarray(rng.random(logits.shape) < 1 / (1 + np.exp(-logits)))
