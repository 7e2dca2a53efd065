"""Units, their right grades and a judge's errors, for intervals of agreement: many samples at once, with a known large-sample value."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from simulations import worlds

Ints = NDArray[np.int64]
MOST_ITEMS = 20
"""Largest number of items of a unit in a ragged world."""


def dirichlet(rng: np.random.Generator, shape: tuple[int, int, int]) -> Ints:
    """Every unit has its own distribution over the grades."""
    limits = rng.dirichlet([0.7] * 4, shape[:2]).cumsum(axis=-1)[:, :, None, :3]
    return (rng.random((*shape, 1)) > limits).sum(axis=-1)


def features(rng: np.random.Generator, shape: tuple[int, int, int]) -> Ints:
    """The units of `worlds.FEATURES`."""
    latent = rng.normal(0.4, 0.9, (*shape[:2], 1)) + rng.normal(0, 0.6, shape)
    return (latent[..., None] > worlds.THRESHOLDS).sum(axis=-1)


def heavy(rng: np.random.Generator, shape: tuple[int, int, int]) -> Ints:
    """Levels with heavy tails: most units are near 0 and some at 3."""
    level = 0.12 * np.exp(np.minimum(rng.standard_t(2, shape[:2]), 9.0))
    return rng.binomial(3, np.clip(level, 0, 1)[..., None], shape)


def zeros_in_few(rng: np.random.Generator, shape: tuple[int, int, int]) -> Ints:
    """95% zeros: the other grades are all in a tenth of the units."""
    is_on = rng.random(shape[:2])[..., None] < 0.1
    return np.where(is_on & (rng.random(shape) < 0.5), rng.integers(1, 4, shape), 0)


def zeros_spread(rng: np.random.Generator, shape: tuple[int, int, int]) -> Ints:
    """95% zeros: every item of every unit is as likely to have another grade."""
    return np.where(rng.random(shape) < 0.05, rng.integers(1, 4, shape), 0)


def threes(rng: np.random.Generator, shape: tuple[int, int, int]) -> Ints:
    """93% threes."""
    return np.where(rng.random(shape) < 0.07, rng.integers(0, 3, shape), 3)


class Errors(NamedTuple):
    """Chances that a judge is one grade too high, and one too low; two grades too high in a fifth of the former."""

    up: float
    down: float
    by: str = "even"
    """`even`, `unit` (the chance differs between units) or `bin` (high for every second item of a unit)."""


EVEN, GOOD, RARE = Errors(0.3, 0.1), Errors(0.1, 0.05), Errors(0.03, 0.02)
BY_UNIT, BY_BIN = Errors(0.3, 0.1, "unit"), Errors(0.3, 0.05, "bin")


def judged(rng: np.random.Generator, grades: Ints, errors: Errors) -> Ints:
    """The judge's grades (..., units, items)."""
    up: NDArray[np.float64] = np.full((*grades.shape[:2], 1), errors.up)
    if errors.by == "unit":
        up = rng.beta(2 * errors.up, 2 * (1 - errors.up), up.shape)
    if errors.by == "bin":
        up = np.where(np.arange(grades.shape[-1]) % 2 == 0, 2 * errors.up - 0.1, 0.1)
    chance = rng.random(grades.shape)
    step = (chance < up).astype(np.int64) + (chance < up / 5) - (chance > 1 - errors.down)
    return np.clip(grades + step, 0, 3)


class World(NamedTuple):
    """A population of units and a judge."""

    grades: Callable[[np.random.Generator, tuple[int, int, int]], Ints]
    errors: Errors
    items: int
    """Number of items of a unit."""
    ragged: bool = False
    """Whether the numbers of items follow a Pareto distribution instead."""


WORLDS = {
    "dirichlet, errors by bin": World(dirichlet, BY_BIN, 3),
    "dirichlet, one item a unit": World(dirichlet, GOOD, 1),
    "dirichlet, errors by unit, ragged": World(dirichlet, BY_UNIT, 3, ragged=True),
    "features, a good judge": World(features, GOOD, 3),
    "heavy tails, errors by unit": World(heavy, BY_UNIT, 3),
    "heavy tails, a good judge": World(heavy, GOOD, 3),
    "heavy tails, ragged": World(heavy, EVEN, 3, ragged=True),
    "95% zeros in few units": World(zeros_in_few, RARE, 3),
    "95% zeros in few units, many errors": World(zeros_in_few, EVEN, 3),
    "95% zeros spread": World(zeros_spread, RARE, 3),
    "95% zeros spread, more errors": World(zeros_spread, GOOD, 3),
    "93% threes": World(threes, GOOD, 2),
}


def presence(rng: np.random.Generator, world: World, runs: int, units: int) -> NDArray[np.float64]:
    """1 for each item that exists, else 0 (runs, units, items)."""
    if not world.ragged:
        return np.ones((runs, units, world.items))
    n = np.minimum(np.ceil(rng.pareto(1.2, (runs, units))), MOST_ITEMS)
    return (np.arange(MOST_ITEMS) < np.maximum(n, 1)[..., None]).astype(np.float64)


def cells(rng: np.random.Generator, world: World, runs: int, units: int) -> NDArray[np.float64]:
    """Numbers of items by right and judged grade (runs, units, 16)."""
    exists = presence(rng, world, runs, units)
    grades = world.grades(rng, exists.shape)
    cell = 4 * grades + judged(rng, grades, world.errors)
    return np.stack([((cell == c) * exists).sum(axis=-1) for c in range(16)], axis=-1)
