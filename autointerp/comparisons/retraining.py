"""The noise of retraining: how much the mean grade of features differs between dictionaries that differ only in their seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from autointerp.comparisons.measures import by_bin, compared_bins
from autointerp.comparisons.pairing import Side
from autointerp.stats.two_way import Verdict, verdict_of


@dataclass(frozen=True)
class Retraining:
    """The difference of two sides as one between ways to train a dictionary, instead of between the dictionaries at hand."""

    n_runs: int
    """Number of runs on both sides."""
    deviation: float
    """Standard deviation of the mean grade between trainings with other seeds, within a side. The sampling of units and texts is part of it."""
    freedom: float
    """Degrees of freedom of the deviation."""
    difference: float
    """Mean of the second side's runs minus that of the first's."""
    ci_low: float
    """Lower end of the interval of the difference, retraining included."""
    ci_high: float
    smallest: float
    """The largest difference of two single dictionaries that is expected from the seed alone, at the confidence of the comparison."""

    @property
    def verdict(self) -> Verdict:
        """Whether the ways to train can be told apart."""
        return verdict_of(self.ci_low, self.ci_high)


def noise(sides: Sequence[Side], confidence: float) -> Retraining | None:
    """The noise of retraining, pooled over two sides; None if neither has several runs.

    With k runs a side, the difference has the variance s^2 (1 / k_a + 1 / k_b), s^2 being that within sides with sum(k - 1) degrees
    of freedom. A side with a single run is assumed to vary as much as the other.
    """
    freedom = sum(len(side.runs) - 1 for side in sides)
    if not freedom:
        return None
    means = [[_mean_grade(sides, run_number, side) for run_number in range(len(side.runs))] for side in sides]
    deviation = math.sqrt(sum(float(((np.array(m) - np.mean(m)) ** 2).sum()) for m in means) / freedom)
    t = float(stats.t.ppf((1 + confidence) / 2, freedom))
    half = t * deviation * math.sqrt(sum(1 / len(side.runs) for side in sides))
    difference = float(np.mean(means[1]) - np.mean(means[0]))
    n_runs = sum(len(side.runs) for side in sides)
    low, high = difference - half, difference + half
    return Retraining(n_runs, deviation, freedom, difference, low, high, t * deviation * math.sqrt(2))


def _mean_grade(sides: Sequence[Side], number: int, side: Side) -> float:
    """The mean grade of a run's features over the bins that all runs of the sides have."""
    tables = [run.items.loc[run.items["kind"] == "feature"] for each in sides for run in each.runs]
    items = side.runs[number].items
    rows = by_bin(items.loc[items["kind"] == "feature"], compared_bins(tables))
    return float((rows["weight"] * rows["value"]).sum())
