"""Planted populations whose mean grade is known at every rarity, judged as a run judges: by bins of (0, max], half of the documents.

Features have exponential tails and are active at 0.06% to 5% of tokens, neurons have the upper half of a normal distribution. Grades fall
as activations become more common, in neurons faster, and denser units have lower ones: so the density decides both which levels a unit
fills and how it is graded. Everything is drawn for all runs at once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import norm

from autointerp.stats import rarity
from autointerp.stats.rarity import LEVELS, Sums

Floats = NDArray[np.float64]

TOKENS, BINS, PER_BIN = 1_000_000, 10, 5


class Population(NamedTuple):
    """One kind of unit: its grade at rarity r has mean 3 expit(level - fall log10(r / 1e-5) - 0.3 log10(density / 0.01) + unit)."""

    level: float
    fall: float
    spread: float
    is_neuron: bool


FEATURES, NEURONS = Population(2.0, 0.5, 0.8, False), Population(1.2, 0.7, 1.0, True)
NULL = Population(1.2, 0.7, 1.0, False)
"""Features that are graded as neurons are at the same rarity."""


class Judged(NamedTuple):
    """What the judge's grades are averaged to, for each run and unit."""

    sums: Sums
    bins: Floats
    """Mean grade in each bin of (0, max], (runs, n, BINS); NaN without a grade."""


class Units(NamedTuple):
    """Units (...,): their densities and their effects on the grade."""

    density: Floats
    effect: Floats


def units(rng: np.random.Generator, population: Population, shape: tuple[int, ...]) -> Units:
    """Units drawn from a population."""
    log_density = rng.normal(np.log10(0.48), 0.02, shape) if population.is_neuron else rng.uniform(-3.2, -1.3, shape)
    density = 10.0**log_density
    gradient = 0.0 if population.is_neuron else -0.3 * (log_density + 2)
    return Units(density, rng.normal(0, population.spread, shape) + gradient)


def mean_grade(population: Population, drawn: Units, r: Floats) -> Floats:
    """The mean grade, as a share of the scale, of units (...) at rarities (..., k)."""
    return np.asarray(expit(population.level + drawn.effect[..., None] - population.fall * (np.log10(r) + 5)))


def truth(population: Population, n: int = 300_000) -> Floats:
    """The mean grade of a population in each level, over the units that fill it."""
    drawn = units(np.random.default_rng(99), population, (n,))
    fills, found = rarity.fills(drawn.density), []
    for low, high, has in zip((0.0, *LEVELS[:-1]), LEVELS, fills.T, strict=True):
        r = low + (high - low) * (np.arange(16) + 0.5) / 16
        of_level = Units(drawn.density[has], drawn.effect[has])
        found.append(3 * float(mean_grade(population, of_level, r).mean()))
    return np.array(found)


def judged(rng: np.random.Generator, population: Population, runs: int, n: int) -> Judged:
    """The grades of `n` units in each of `runs` runs."""
    drawn = units(rng, population, (runs, n))
    ends = _ranks_at_edges(population, drawn.density)
    lower, events = ends[..., 1:], ends[..., :-1] - ends[..., 1:]  # events of ranks lower + 1 .. lower + events
    judging = rng.binomial(events, 0.5)
    k = np.minimum(judging, PER_BIN)
    place = _subsets(rng, events, k)
    r = (lower[..., None] + place) / TOKENS
    is_drawn = np.arange(PER_BIN) < k[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.where(is_drawn, (2 * judging / k)[..., None], 0.0).reshape(runs, n, -1)
    r = np.where(is_drawn, r, 1.0).reshape(runs, n, -1)
    grade = rng.binomial(3, mean_grade(population, drawn, r))
    share = rarity.shares(r - 1 / TOKENS, r) * weight[..., None]
    sums = Sums(share.sum(axis=2), (share * grade[..., None]).sum(axis=2), rarity.fills(drawn.density))
    by_bin = np.where(is_drawn, grade.reshape(is_drawn.shape), 0)
    return Judged(sums, np.where(k > 0, by_bin.sum(axis=-1) / np.maximum(k, 1), np.nan))


def _ranks_at_edges(population: Population, density: Floats) -> NDArray[np.int64]:
    """The number of events above each edge of the bins (..., BINS + 1), from 0 up; the last is 0."""
    first = 0.7 / TOKENS
    share = np.arange(BINS + 1) / BINS
    if population.is_neuron:
        maximum = norm.isf(first * 0.5 / density)
        above = 2 * density[..., None] * norm.sf(maximum[..., None] * share)
    else:
        above = density[..., None] * (first / density[..., None]) ** share
    ranks = np.floor(above * TOKENS).astype(np.int64)
    ranks[..., -1] = 0
    return np.asarray(ranks)


def _subsets(rng: np.random.Generator, n: NDArray[np.int64], k: NDArray[np.int64]) -> NDArray[np.int64]:
    """Random subsets of size k (...) of 1..n (...), as (..., PER_BIN), by Floyd's algorithm; what is beyond k has no meaning."""
    found = np.zeros((*n.shape, PER_BIN), dtype=np.int64)
    for i in range(PER_BIN):
        last = np.maximum(n - k + i + 1, 1)
        drawn = rng.integers(1, last + 1)
        is_taken = (found[..., :i] == drawn[..., None]).any(axis=-1)
        found[..., i] = np.where(is_taken, last, drawn)
    return found
