"""Pairs of runs without a difference, for tests of comparisons: units of several kinds, graded on shared or other texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from autointerp.stats.two_way import Observations, differences

Floats = NDArray[np.float64]
Design = Literal["exemplars", "texts", "nothing"]
"""What two runs share."""

BINS, PER_BIN, TEXTS = 5, 3, 300
LEVELS: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "even": lambda rng, n: rng.beta(1.5, 1.5, n),
    "skewed": lambda rng, n: np.minimum(0.13 * np.exp(1.2 * rng.normal(size=n)), 1.0),
    "two groups": lambda rng, n: np.where(rng.random(n) < 0.3, 0.95, 0.05),
    "nearly all at the top": lambda rng, n: rng.beta(8, 1, n),
}
"""Mean grades of units, as a share of the highest grade."""
DESIGNS: tuple[Design, ...] = ("exemplars", "texts", "nothing")


class Outcomes(NamedTuple):
    """Of many pairs without a difference, the estimate, half its interval's width and the smallest difference announced."""

    value: Floats
    half: Floats
    smallest: Floats

    @property
    def called(self) -> float:
        """Share of pairs in which a difference is called."""
        return float((np.abs(self.value) > self.half).mean())

    @property
    def found(self) -> float:
        """Share of pairs in which it is called if the runs differ by the smallest difference announced, on average, and in no other way."""
        return float((self.value + self.smallest.mean() > self.half).mean())


def outcomes(
    rng: np.random.Generator, level: str, design: Design, pairs: int, units: tuple[int, int] = (24, 24)
) -> Outcomes:
    """Compare `pairs` pairs of runs. A twentieth of the grades is missing, and in the second run another twentieth as well."""
    found = []
    for _ in range(pairs):
        rows = _pair(rng, level, design, units)
        [difference] = differences([rows], confidence=0.95, resamples=400, seed=0)
        assert difference.low is not None
        assert difference.high is not None
        assert difference.smallest is not None
        found.append((difference.value, (difference.high - difference.low) / 2, difference.smallest))
    value, half, smallest = np.array(found).T
    return Outcomes(value, half, smallest)


def _pair(rng: np.random.Generator, level: str, design: Design, units: tuple[int, int]) -> Observations:
    easy = rng.normal(0, 0.1, TEXTS)
    of_unit = [LEVELS[level](rng, n) for n in units]
    texts = [rng.integers(0, TEXTS, (n, BINS, PER_BIN)) for n in units]
    if design == "exemplars":
        of_unit[1], texts[1] = of_unit[0], texts[0]
    grades = [_grades(rng, m, easy[t]) for m, t in zip(of_unit, texts, strict=True)]
    if design == "exemplars":
        lenient = rng.normal(0, 0.1, units[0])  # the second judge's view of each unit
        second = _grades(rng, np.clip(of_unit[0] + lenient, 0, 1), easy[texts[0]])
        first = _grades(rng, np.clip(of_unit[0] + rng.permutation(lenient), 0, 1), easy[texts[0]])
        grades = [np.where(rng.random(second.shape) < 0.5, grades[0], each) for each in (first, second)]
    missing = [rng.random(g.shape) < share for g, share in zip(grades, (0.05, 0.1), strict=True)]
    if design == "exemplars":
        missing = [missing[0] | missing[1]] * 2
    parts = [_rows(g, ~m, t, side) for side, (g, m, t) in enumerate(zip(grades, missing, texts, strict=True))]
    offset_unit = 0 if design == "exemplars" else units[0]
    offset_text = TEXTS if design == "nothing" else 0
    parts[1] = parts[1]._replace(unit=parts[1].unit + offset_unit, text=parts[1].text + offset_text)
    return Observations(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _grades(rng: np.random.Generator, level: Floats, easy: Floats) -> Floats:
    return rng.binomial(3, np.clip(level[:, None, None] + easy, 0.01, 0.99)).astype(np.float64)


def _rows(grades: Floats, known: NDArray[np.bool_], texts: NDArray[np.int64], side: int) -> Observations:
    """One side's grades, weighted as by `comparisons.measures.by_bin`."""
    in_cell = known.sum(axis=2, keepdims=True)
    in_bin = (in_cell > 0).sum(axis=0, keepdims=True)
    weight = (2 * side - 1) / (np.maximum(in_cell, 1) * in_bin * BINS) * np.ones(grades.shape)
    unit, bin_, _ = np.indices(grades.shape)
    columns = (grades, weight, bin_ + BINS * side, np.full(grades.shape, side), unit, texts)
    return Observations(*(column[known] for column in columns))
