"""Simulated populations of units and judges with known truth, which resemble those of real runs.

A unit has a latent level, its bin shifts it, its items scatter around it, and three thresholds turn the result into a grade 0-3. The worlds
were matched to runs of the demo with the embedded judge (`FEATURES`: mean 1.4, sd 0.9 between units and 0.75 within a bin;
`NEURONS`: 0.6, 0.75, 0.7, with skew 1.3) and with a local language model (`LENIENT`: mean 2.6, four grades in five are 3).
In `NOISY` items differ more than units do.
"""

from __future__ import annotations

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
