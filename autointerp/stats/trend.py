"""Statistics of nightly runs: one version of a dictionary against the version before, and the judge against its own earlier grades.

Features are paired by id: the same seed draws the same features of the same dictionary. Intervals are Student's t over units: the
differences of unit means are nearly symmetric about their mean, and for 16 to 64 of them t covers 95 percent while a percentile
bootstrap covers less (tests/stats/test_trend.py simulates both kinds of comparison).
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

from autointerp.stats import means, two_way

CONFIDENCE = 0.95
MIN_PAIRS = 12
"""No trend is computed from fewer units scored in both versions: of 8 units, most of them unchanged, t covers .88."""

Verdict = Literal["regression", "improvement", "unchanged", "unknown"]


@dataclass(frozen=True)
class Change:
    """A mean difference over `n` units, with its interval, standard error and degrees of freedom.

    Interval, error and freedom are None if there are too few units for them.
    """

    difference: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    error: float | None = None
    freedom: float | None = None

    @property
    def excludes_zero(self) -> bool:
        """Whether there is an interval and 0 lies outside it."""
        return self.ci_low is not None and self.ci_high is not None and not self.ci_low <= 0 <= self.ci_high

    @property
    def verdict(self) -> Verdict:
        """`regression` if the whole interval is below 0, `improvement` if it is above, `unknown` without an interval."""
        if self.ci_low is None or self.ci_high is None:
            return "unknown"
        return "regression" if self.ci_high < 0 else "improvement" if self.ci_low > 0 else "unchanged"

    @property
    def told(self) -> two_way.Verdict:
        """The verdict in the words of a comparison of runs: `better`, `worse` or `cannot be told`."""
        return two_way.verdict_of(self.ci_low, self.ci_high)

    @property
    def smallest(self) -> float | None:
        """The smallest true difference that is found with a probability of `two_way.POWER`.

        None without an interval, and if all units have the same difference, which tells nothing of their spread.
        """
        if self.ci_low is None or self.error is None or self.freedom is None or self.error < means.SAME:
            return None
        return two_way.smallest_difference(self.error, self.freedom, _critical(self.freedom))

    def times(self, share: float) -> Change:
        """The change of a mean of which only this share has changed."""
        difference, low, high, error = (
            None if value is None else value * share
            for value in (self.difference, self.ci_low, self.ci_high, self.error)
        )
        return Change(difference, low, high, self.n, error, self.freedom)

    def plain(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Pairing:
    """The mean grade of the features that have one in both versions, before and now."""

    change: Change
    mean_before: float | None
    mean_now: float | None
    n_only_before: int
    """Number of features with a grade only in the version before."""
    n_only_now: int
    """Number of features with a grade only in this version."""


def mean_change(differences: ArrayLike) -> Change:
    """The mean of unit differences with its t interval. NaN values are left out."""
    values = np.asarray(differences, dtype=float)
    values = np.sort(values[np.isfinite(values)])
    if not len(values):
        return Change(None, None, None, 0)
    mean = float(values.mean())
    if len(values) < 2:
        return Change(mean, None, None, len(values))
    of_units = means.spread(values)
    return _interval(mean, math.sqrt(of_units.variance), of_units.freedom, len(values))


def compare(before: pd.DataFrame, now: pd.DataFrame) -> Pairing:
    """Two versions compared by their `units.parquet`: now minus before, over features with a mean grade in both.

    The interval is None for fewer than `MIN_PAIRS` such features.
    """
    old, new = (_feature_means(units) for units in (before, now))
    both = old.index.intersection(new.index)
    change = mean_change(new.loc[both] - old.loc[both])
    if change.n < MIN_PAIRS:
        change = Change(change.difference, None, None, change.n)
    mean_before, mean_now = (float(means.loc[both].mean()) if len(both) else None for means in (old, new))
    return Pairing(change, mean_before, mean_now, len(old) - len(both), len(new) - len(both))


def new_answer_share(before: pd.DataFrame, now: pd.DataFrame) -> float:
    """Share of a run's judgements that rest on answers which the run before did not have, by the `judgements.parquet` of both.

    A question is never asked twice, so an answer that both runs share cannot have drifted.
    """
    old, new = (_main_of_features(table)["call_key"] for table in (before, now))
    return float((~new.isin(set(old))).mean()) if len(new) else 0.0


def grade_shares(judgements: pd.DataFrame) -> dict[int, float]:
    """Share of each grade among the scored judgements of features in the main arm, by `judgements.parquet`."""
    grades = _main_of_features(judgements)["score"].astype(int)
    return {int(str(grade)): float(share) for grade, share in grades.value_counts(normalize=True).items()}


def judge_drift(
    before: Mapping[int, int],
    now: Mapping[int, int],
    units: Mapping[int, str],
    weights: Mapping[int, float] | None = None,
) -> Change:
    """The mean change of a judge's grades of the same anchors, now minus before. All arguments are by anchor number.

    Anchors of one unit form one cluster. With `weights` (see `population_weights`) the mean represents all judgements, in which
    grades are not as evenly distributed as among the anchors.
    """
    by_unit: dict[str, list[tuple[float, float]]] = {}
    for number in sorted(before.keys() & now.keys()):
        weight = 1.0 if weights is None else weights[number]
        by_unit.setdefault(units[number], []).append((weight, now[number] - before[number]))
    return clustered_change(list(by_unit.values()))


def population_weights(strata: Mapping[int, int], shares: Mapping[int, float]) -> dict[int, float]:
    """Weights by anchor with which the anchors have the `shares` of grades among all judgements.

    `strata` holds the grade by which each anchor was chosen.
    """
    sizes = Counter(strata.values())
    return {number: shares.get(grade, 0.0) / sizes[grade] for number, grade in strata.items()}


def clustered_change(clusters: Sequence[Sequence[tuple[float, float]]]) -> Change:
    """The weighted mean of (weight, value) items, with an interval that takes each cluster as one observation.

    With S_g the weighted sum and W_g the total weight of cluster g of G, the mean is sum(S) / sum(W) and its variance
    G / (G - 1) * sum((S_g - mean * W_g)^2) / sum(W)^2 (Miller, arXiv 2411.00640); its degrees of freedom are those of `means.spread`.
    """
    weighted = [[item for item in cluster if item[0] > 0] for cluster in clusters]
    kept = [cluster for cluster in weighted if cluster]
    if not kept:
        return Change(None, None, None, 0)
    weights = np.array([sum(weight for weight, _ in cluster) for cluster in kept])
    sums = np.array([sum(weight * value for weight, value in cluster) for cluster in kept])
    mean, n = float(sums.sum() / weights.sum()), len(kept)
    if n < MIN_PAIRS:
        return Change(mean, None, None, n)
    # The terms sum to 0, and n times their mean's standard error is that of the weighted mean.
    of_clusters = means.spread((sums - mean * weights) / float(weights.sum()))
    return _interval(mean, n * math.sqrt(of_clusters.variance), of_clusters.freedom, n)


def corrected(change: Change, drift: Change) -> Change:
    """A trend minus the judge's drift between the same two nights. Both are estimates, so their variances add.

    Degrees of freedom are by Welch and Satterthwaite.
    """
    if change.difference is None or drift.difference is None:
        return Change(None, None, None, change.n)
    difference = change.difference - drift.difference
    if change.error is None or drift.error is None or change.freedom is None or drift.freedom is None:
        return Change(difference, None, None, change.n)
    freedom = means.satterthwaite((change.error**2, change.freedom), (drift.error**2, drift.freedom))
    return _interval(difference, math.hypot(change.error, drift.error), freedom or change.freedom, change.n)


def _main_of_features(judgements: pd.DataFrame) -> pd.DataFrame:
    """The scored judgements of features in the main arm."""
    chosen = (judgements["arm"] == "main") & (judgements["kind"] == "feature") & judgements["score"].notna()
    return judgements.loc[chosen]


def _feature_means(units: pd.DataFrame) -> pd.Series[float]:
    rows = units.loc[(units["kind"] == "feature") & units["mean_score"].notna()]
    return rows.set_index("unit_id")["mean_score"].astype(float)


def _interval(mean: float, error: float, freedom: float, n: int) -> Change:
    half_width = _critical(freedom) * error
    return Change(mean, mean - half_width, mean + half_width, n, error, freedom)


def _critical(freedom: float) -> float:
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom))
