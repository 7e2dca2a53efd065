"""Statistics of a night: a version against the one before, and the judge against itself.

Features are paired by id: the same seed draws the same features of the same dictionary. Intervals are Student's over units: the
differences of unit means are close to symmetric about their mean, and of 16 to 64 of them t covers 95 percent where a percentile
bootstrap covers less (tests/test_trend.py simulates both kinds of night).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

CONFIDENCE = 0.95
MIN_PAIRS = 8
"""Fewer units that both versions have scored show no trend: t is then as wide as the scale, and the mean far from normal."""

Verdict = Literal["regression", "improvement", "unchanged", "unknown"]


@dataclass(frozen=True)
class Change:
    """A mean difference over `n` units with its interval, standard error and degrees of freedom.

    Interval, error and freedom are None with fewer than two units.
    """

    difference: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    error: float | None = None
    freedom: float | None = None

    @property
    def excludes_zero(self) -> bool:
        return self.ci_low is not None and self.ci_high is not None and not self.ci_low <= 0 <= self.ci_high

    @property
    def verdict(self) -> Verdict:
        """`regression` where the whole interval is below 0, `improvement` where it is above."""
        if self.ci_low is None or self.ci_high is None:
            return "unknown"
        return "regression" if self.ci_high < 0 else "improvement" if self.ci_low > 0 else "unchanged"

    def times(self, share: float) -> Change:
        """The same change where only a share of the answers is concerned."""
        difference, low, high, error = (
            None if value is None else value * share
            for value in (self.difference, self.ci_low, self.ci_high, self.error)
        )
        return Change(difference, low, high, self.n, error, self.freedom)

    def plain(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Pairing:
    """The features' mean grade in two versions, over those that both have scored, and how many only one has."""

    change: Change
    mean_before: float | None
    mean_now: float | None
    n_only_before: int
    n_only_now: int


def mean_change(differences: ArrayLike) -> Change:
    """The mean of unit differences with its t interval; NaN values are left out."""
    values = np.asarray(differences, dtype=float)
    values = np.sort(values[np.isfinite(values)])
    if not len(values):
        return Change(None, None, None, 0)
    mean = float(values.mean())
    if len(values) < 2:
        return Change(mean, None, None, len(values))
    return _interval(mean, float(values.std(ddof=1)) / math.sqrt(len(values)), len(values) - 1, len(values))


def compare(before: pd.DataFrame, now: pd.DataFrame) -> Pairing:
    """Two versions by their `units.parquet`: now minus before, over features with a mean grade in both.

    The interval is None with fewer than `MIN_PAIRS` of them.
    """
    old, new = (_feature_means(units) for units in (before, now))
    both = old.index.intersection(new.index)
    change = mean_change(new.loc[both] - old.loc[both])
    if change.n < MIN_PAIRS:
        change = Change(change.difference, None, None, change.n)
    mean_before, mean_now = (float(means.loc[both].mean()) if len(both) else None for means in (old, new))
    return Pairing(change, mean_before, mean_now, len(old) - len(both), len(new) - len(both))


def fresh_share(before: pd.DataFrame, now: pd.DataFrame) -> float:
    """Share of a run's judgements (by `judgements.parquet`) that are not answers which the run before was given already.

    A question that was answered once is not asked again, so an answer that both versions share cannot have drifted.
    """
    old, new = (_main_of_features(table)["call_key"] for table in (before, now))
    return float((~new.isin(set(old))).mean()) if len(new) else 0.0


def grade_shares(judgements: pd.DataFrame) -> dict[int, float]:
    """Share of each grade among the features' scored judgements of the main arm (by `judgements.parquet`)."""
    grades = _main_of_features(judgements)["score"].astype(int)
    return {int(str(grade)): float(share) for grade, share in grades.value_counts(normalize=True).items()}


def judge_drift(
    before: Mapping[int, int],
    now: Mapping[int, int],
    units: Mapping[int, str],
    weights: Mapping[int, float] | None = None,
) -> Change:
    """How a judge's grades of the same anchors moved: now minus before, by anchor; anchors of one unit are one cluster.

    `weights`, by anchor, make the mean that of a population whose grades are not as even as the anchors' (see `to_population`).
    """
    by_unit: dict[str, list[tuple[float, float]]] = {}
    for number in sorted(before.keys() & now.keys()):
        weight = 1.0 if weights is None else weights[number]
        by_unit.setdefault(units[number], []).append((weight, now[number] - before[number]))
    return clustered_change(list(by_unit.values()))


def to_population(strata: Mapping[int, int], shares: Mapping[int, float]) -> dict[int, float]:
    """Weights that give anchors, by the grade that each was chosen by, the shares that grades have among all judgements."""
    sizes = Counter(strata.values())
    return {number: shares.get(grade, 0.0) / sizes[grade] for number, grade in strata.items()}


def clustered_change(clusters: Sequence[Sequence[tuple[float, float]]]) -> Change:
    """The mean of (weight, value) items, with an interval that takes each cluster as one observation.

    The error of a ratio of sums over G clusters with its factor G / (G - 1), and t with G - 1 degrees (Miller, arXiv 2411.00640).
    """
    weighing = [[item for item in cluster if item[0] > 0] for cluster in clusters]
    kept = [cluster for cluster in weighing if cluster]
    if not kept:
        return Change(None, None, None, 0)
    sizes = np.array([sum(weight for weight, _ in cluster) for cluster in kept])
    sums = np.array([sum(weight * value for weight, value in cluster) for cluster in kept])
    mean, g = float(sums.sum() / sizes.sum()), len(kept)
    if g < MIN_PAIRS:
        return Change(mean, None, None, g)
    error = math.sqrt(g / (g - 1) * float(((sums - mean * sizes) ** 2).sum())) / float(sizes.sum())
    return _interval(mean, error, g - 1, g)


def corrected(change: Change, drift: Change) -> Change:
    """A trend less the judge's drift between the same two nights; both are estimates, and the errors add (Welch)."""
    if change.difference is None or drift.difference is None:
        return Change(None, None, None, change.n)
    difference = change.difference - drift.difference
    if change.error is None or drift.error is None or change.freedom is None or drift.freedom is None:
        return Change(difference, None, None, change.n)
    parts = [(change.error**2, change.freedom), (drift.error**2, drift.freedom)]
    total = sum(part for part, _ in parts)
    spread = sum(part**2 / freedom for part, freedom in parts)
    freedom = total**2 / spread if spread else change.freedom
    return _interval(difference, math.sqrt(total), freedom, change.n)


def _main_of_features(judgements: pd.DataFrame) -> pd.DataFrame:
    wanted = (judgements["arm"] == "main") & (judgements["kind"] == "feature") & judgements["score"].notna()
    return judgements.loc[wanted]


def _feature_means(units: pd.DataFrame) -> pd.Series[float]:
    rows = units.loc[(units["kind"] == "feature") & units["mean_score"].notna()]
    return rows.set_index("unit_id")["mean_score"].astype(float)


def _interval(mean: float, error: float, freedom: float, n: int) -> Change:
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * error
    return Change(mean, mean - reach, mean + reach, n, error, freedom)
