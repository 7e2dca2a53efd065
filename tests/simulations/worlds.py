"""Simulated populations of units and judges with known truth, which resemble those of real runs.

A unit has a latent level, its bin shifts it, its items scatter around it, and three thresholds turn the result into a grade 0-3. The worlds
were matched to runs of the demo with the embedded judge (`FEATURES`: mean 1.4, sd 0.9 between units and 0.75 within a bin;
`NEURONS`: 0.6, 0.75, 0.7, with skew 1.3) and with a local language model (`LENIENT`: mean 2.6, four grades in five are 3).
In `NOISY` items differ more than units do.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

THRESHOLDS = np.array([0.0, 0.5, 1.0])


class World(NamedTuple):
    """Mean and standard deviation of the units' latent levels, and standard deviation of the items around them."""

    level: float
    between: float
    within: float


FEATURES = World(0.4, 0.9, 0.6)
NEURONS = World(-0.9, 1.3, 0.9)
LENIENT = World(2.0, 0.9, 0.8)
NOISY = World(0.2, 0.8, 1.6)


def lift(bins: int) -> NDArray[np.float64]:
    return np.linspace(-0.6, 0.6, bins)


def draw(
    rng: np.random.Generator, world: World, units: int, bins: int, items: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Grades (units, bins, items) and the true mean of each unit and bin."""
    place = rng.normal(world.level, world.between, units)[:, None] + lift(bins)
    truth = special.ndtr((place[..., None] - THRESHOLDS) / world.within).sum(axis=-1)
    latent = place[..., None] + rng.normal(0, world.within, (units, bins, items))
    return (latent[..., None] > THRESHOLDS).sum(axis=-1), truth


def true_mean(world: World, bins: int) -> float:
    """The mean over the whole population of units."""
    scale = np.hypot(world.between, world.within)
    reach = (world.level + lift(bins))[:, None] - THRESHOLDS
    return float(special.ndtr(reach / scale).sum(axis=-1).mean())


def biased(
    rng: np.random.Generator, grades: NDArray[np.int64], *, up: float = 0.3, down: float = 0.1, by_unit: bool = False
) -> NDArray[np.int64]:
    """Grades by a judge that is one too high on a share `up` of the items and one too low on `down`; `by_unit`, more in some units."""
    shape = (len(grades), *[1] * (grades.ndim - 1))
    high = rng.beta(2 * up, 2 * (1 - up), shape) if by_unit else np.full(shape, up)
    chance = rng.random(grades.shape)
    return np.clip(grades + (chance < high) - (chance > 1 - down * (1 - high) / (1 - up)), 0, 3)


def table(kind: str, grades: NDArray[np.int64], document: NDArray[np.int64] | None = None) -> pd.DataFrame:
    """The judgements of one kind in the main arm, with the columns that the statistics read."""
    unit, bin_, item = (a.ravel() for a in np.indices(grades.shape))
    ids = np.array([f"{kind}-{i}" for i in range(len(grades))], dtype=object)
    frame = pd.DataFrame({"unit_id": ids[unit], "bin": bin_ + 1, "item": item, "score": grades.ravel()})
    if document is not None:
        frame["document"] = document.ravel()
    names = frame["unit_id"] + "@" + frame["bin"].astype(str) + "." + frame["item"].astype(str)
    return frame.assign(exemplar_id=names, kind=kind, arm="main", outcome="scored", repeat=0).astype({"score": "Int64"})


def units_of(*tables: pd.DataFrame) -> pd.DataFrame:
    return pd.concat(tables)[["unit_id", "kind"]].drop_duplicates(ignore_index=True)


def label(
    rng: np.random.Generator, judged: pd.DataFrame, truth: NDArray[np.int64], n: int, *, by_grade: bool
) -> pd.DataFrame:
    """`n` items of one kind's table with their true grades: a simple random sample, or equally many of each of the judge's grades."""
    kind = str(judged["kind"].iloc[0])
    strata = kind + "/" + judged["score"].astype(str) if by_grade else pd.Series(kind, index=judged.index)
    size = strata.map(strata.value_counts())
    take = np.minimum(max(1, n // strata.nunique()), size)
    order = pd.Series(rng.permutation(len(judged)), index=judged.index).groupby(strata).rank()
    chosen = order <= take
    rows = judged.assign(stratum=strata, probability=take / size, score=truth.ravel(), arm="main")
    return rows.loc[chosen, ["exemplar_id", "unit_id", "arm", "stratum", "probability", "score"]]


class Population(NamedTuple):
    """A kind of unit of which the mean grade in each bin can be drawn, with the share of units that have each bin."""

    grades: Callable[[np.random.Generator, int, int, int], NDArray[np.int64]]
    """Grades (units, bins, items) from a generator and these three numbers."""
    occupancy: Callable[[NDArray[np.float64]], NDArray[np.float64]] = np.ones_like
    """The share of units that have a bin, by the bin's share of the maximum."""
    missing: float = 0.0
    """The share of items without a grade."""
    missing_by_grade: float = 0.0
    """The further share of items without a grade among those with the highest grade."""


def cell_grades(rng: np.random.Generator, population: Population, units: int, bins: int, items: int) -> pd.DataFrame:
    """Mean grades of units (rows) in bins (columns, from 1); NaN where a unit lacks the bin or has no grade. Every unit has the last bin."""
    grades = population.grades(rng, units, bins, items)
    unscored = rng.random(grades.shape) < population.missing + population.missing_by_grade * (grades == 3)
    share = (np.arange(bins) + 0.5) / bins
    # Units with few bins are those with high grades in the others: the harder case.
    order = rng.random((units, 1)) * 0.5 + rng.random((units, bins)) * 0.5
    has = order < population.occupancy(share)
    has[:, -1] = True
    kept = np.where(unscored | ~has[..., None], np.nan, grades.astype(np.float64))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        means = np.nanmean(kept, axis=2)
    return pd.DataFrame(means, columns=range(1, bins + 1))


def of_world(world: World) -> Callable[[np.random.Generator, int, int, int], NDArray[np.int64]]:
    return lambda rng, units, bins, items: draw(rng, world, units, bins, items)[0]


def dirichlet(*weights: float) -> Callable[[np.random.Generator, int, int, int], NDArray[np.int64]]:
    """Each unit has its own shares of the grades 0 to 3, drawn from a Dirichlet distribution."""

    def grades(rng: np.random.Generator, units: int, bins: int, items: int) -> NDArray[np.int64]:
        limits = np.cumsum(rng.dirichlet(weights, units), axis=1)[:, None, None, :3]
        return (rng.random((units, bins, items, 1)) > limits).sum(axis=-1)

    return grades


def heavy_tailed(
    level: float = 0.4, spread: float = 1.2
) -> Callable[[np.random.Generator, int, int, int], NDArray[np.int64]]:
    """Units with lognormal mean grades, cut off at 3: most near 0, a few at the top."""

    def grades(rng: np.random.Generator, units: int, bins: int, items: int) -> NDArray[np.int64]:
        mean = np.minimum(level * np.exp(spread * rng.normal(size=units)), 3)
        return rng.binomial(3, (mean / 3)[:, None, None], (units, bins, items))

    return grades


def zeros(share: float, *, spread: bool) -> Callable[[np.random.Generator, int, int, int], NDArray[np.int64]]:
    """Grades of which `share` are not 0: in this share of the units, or spread over all units."""

    def grades(rng: np.random.Generator, units: int, bins: int, items: int) -> NDArray[np.int64]:
        shape = (units, bins, items) if spread else (units, 1, 1)
        return np.where(rng.random(shape) < share, rng.integers(1, 4, (units, bins, items)), 0)

    return grades


def judged(
    world: World, *, by_unit: bool, by_bin: bool = False
) -> Callable[[np.random.Generator, int, int, int], NDArray[np.int64]]:
    """Grades of a judge whose errors differ between units, or grow with the bin."""

    def grades(rng: np.random.Generator, units: int, bins: int, items: int) -> NDArray[np.int64]:
        truth = draw(rng, world, units, bins, items)[0]
        seen = biased(rng, truth, by_unit=by_unit)
        return np.where(rng.random(truth.shape) < np.linspace(0, 1, bins)[:, None], seen, truth) if by_bin else seen

    return grades


def bursty(world: World) -> Callable[[np.random.Generator, int, int, int], NDArray[np.int64]]:
    """Items of a bin that come from one document and nearly always have the same grade."""

    def grades(rng: np.random.Generator, units: int, bins: int, items: int) -> NDArray[np.int64]:
        first = draw(rng, world, units, bins, 1)[0]
        return np.where(rng.random((units, bins, items)) < 0.9, first, draw(rng, world, units, bins, items)[0])

    return grades


def valley(depth: float) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Occupancy of heavy-tailed activations: most units have the weakest bins and the strongest, few those between."""
    return lambda share: 1 - depth * np.sin(np.pi * share) ** 0.5


PAIRS = {
    "dirichlet": (Population(dirichlet(1, 1, 1, 1)), Population(dirichlet(3, 0.5, 0.3, 0.3))),
    "heavy tails": (Population(heavy_tailed()), Population(heavy_tailed())),
    "heavy tails beside latent": (Population(of_world(FEATURES)), Population(heavy_tailed())),
    "unequal bins": (Population(of_world(FEATURES), valley(0.7)), Population(of_world(NEURONS), valley(0.2))),
    "95% zeros in few units": (Population(of_world(FEATURES)), Population(zeros(0.07, spread=False))),
    "95% zeros spread": (Population(zeros(0.05, spread=True)), Population(zeros(0.05, spread=True))),
    "judge errs by bin": (Population(judged(FEATURES, by_unit=False, by_bin=True)), Population(of_world(NEURONS))),
    "judge errs by unit": (Population(judged(LENIENT, by_unit=True)), Population(judged(NOISY, by_unit=True))),
    "missing at random": (Population(of_world(FEATURES), missing=0.4), Population(of_world(LENIENT), missing=0.4)),
    "missing by grade": (
        Population(of_world(FEATURES), missing_by_grade=0.6),
        Population(of_world(NEURONS), missing_by_grade=0.6),
    ),
    "bursty documents": (Population(bursty(FEATURES)), Population(bursty(NEURONS))),
}
"""Features and neurons of the worlds in which every interval of a report has to hold."""
