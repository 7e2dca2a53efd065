"""Statistics of a night: a version against the one before, and the judge against itself.

Features are paired by id: the same seed draws the same features of the same dictionary. Intervals are Student's over units: the
differences of unit means are close to symmetric about their mean, and of 16 to 64 of them t covers 95 percent where a percentile
bootstrap covers less (tests/test_trend.py simulates both kinds of night).
"""

from __future__ import annotations

import math
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
        parts = (None if v is None else v * share for v in (self.difference, self.ci_low, self.ci_high))
        return Change(*parts, self.n, None if self.error is None else self.error * share, self.freedom)

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
    old, new = (
        table.loc[(table["arm"] == "main") & (table["kind"] == "feature") & table["score"].notna(), "call_key"]
        for table in (before, now)
    )
    return float((~new.isin(set(old))).mean()) if len(new) else 0.0


def judge_drift(before: Mapping[int, int], now: Mapping[int, int], units: Mapping[int, str]) -> Change:
    """How a judge's grades of the same anchors moved: now minus before, by anchor; anchors of one unit are one cluster."""
    shared = sorted(before.keys() & now.keys())
    by_unit: dict[str, list[int]] = {}
    for number in shared:
        by_unit.setdefault(units[number], []).append(now[number] - before[number])
    return clustered_change(list(by_unit.values()))


def clustered_change(clusters: Sequence[Sequence[float]]) -> Change:
    """The mean over all items, with an interval that takes each cluster as one observation.

    The error of a ratio of sums over G clusters with its factor G / (G - 1), and t with G - 1 degrees (Miller, arXiv 2411.00640).
    """
    sizes = np.array([len(cluster) for cluster in clusters], dtype=float)
    if not len(sizes):
        return Change(None, None, None, 0)
    sums = np.array([sum(cluster) for cluster in clusters], dtype=float)
    mean, g = float(sums.sum() / sizes.sum()), len(sizes)
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


def _feature_means(units: pd.DataFrame) -> pd.Series[float]:
    rows = units.loc[(units["kind"] == "feature") & units["mean_score"].notna()]
    return rows.set_index("unit_id")["mean_score"].astype(float)


def _interval(mean: float, error: float, freedom: float, n: int) -> Change:
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * error
    return Change(mean, mean - reach, mean + reach, n, error, freedom)
