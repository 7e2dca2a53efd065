"""Statistics over units: means, intervals and contrasts, as pure functions of the result tables.

The unit of analysis is the feature or neuron, and its judgements are a cluster: repeats are averaged within an exemplar, exemplars
within an activation bin, and bins within a unit, before intervals are computed over units (Miller, arXiv 2411.00640). Unscored
judgements enter counts and nothing else. What cannot be estimated is None, never NaN.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from autointerp.records import COMPARED, Arm, Outcome
from autointerp.spec.spec import Spec
from autointerp.stats.estimates import MeanEstimate, Part

Floats = NDArray[np.float64]

MIN_FOR_INTERVAL = 3
"""No interval is computed from fewer units than this: resamples of two values have only three means."""
_SAME = 1e-12
"""Unit means closer than this are equal, because they are sums of a few fractions of small integers."""
_BATCH_VALUES = 1 << 22
"""Number of values resampled at once, which bounds memory at tens of MB for any number of units."""


class Comparison(Part):
    """Features compared with neurons, both as samples of units."""

    features_mean: float | None
    """Mean grade of the features, with equal weight per unit; null if no feature has a grade."""
    neurons_mean: float | None
    """Mean grade of the neurons, with equal weight per unit; null if no neuron has a grade."""
    difference: float | None
    """Features' mean minus neurons' mean."""
    ci_low: float | None
    """Lower end of the difference's interval; null if it cannot be computed."""
    ci_high: float | None
    """Upper end of the difference's interval; null if it cannot be computed."""
    p_superior: float | None
    """P(feature > neuron): the share of feature-neuron pairs in which the feature has the higher mean grade, ties counting half."""
    p_superior_ci_low: float | None
    """Lower end of the interval of `p_superior`; null if it cannot be computed."""
    p_superior_ci_high: float | None
    """Upper end of the interval of `p_superior`; null if it cannot be computed."""
    n_features_scored: int
    """Number of features with a grade."""
    n_neurons_scored: int
    """Number of neurons with a grade."""


def scored_rows(judgements: pd.DataFrame) -> pd.DataFrame:
    """The judgements that have a grade, with the columns `grade` and `score` as floats.

    `score` is the mean grade by the judge's token probabilities if it returned them (column `expected`), else the grade itself.
    Raises ValueError if outcome and score of a row contradict each other.
    """
    is_scored = judgements["outcome"].astype("object") == Outcome.SCORED.value
    if bool((is_scored != judgements["score"].notna()).any()):
        raise ValueError(
            "judgements: a row is scored without a score, or has a score but is not scored: rebuild the table"
        )
    rows = judgements.loc[is_scored]
    grade = rows["score"].astype("float64")
    expected = rows["expected"].astype("float64").fillna(grade) if "expected" in rows else grade
    return rows.assign(score=expected, grade=grade)


def cell_means(judgements: pd.DataFrame, grades: Sequence[int] = ()) -> pd.DataFrame:
    """Mean grade in each cell, indexed by (unit_id, arm, bin), and `share_G`, the share of each grade G of `grades`.

    Repeats of an exemplar are averaged first, so that an exemplar counts once however often it was judged.
    """
    rows = scored_rows(judgements)
    shares = {f"share_{g}": (rows["grade"] == g).astype("float64") for g in grades}
    rows = rows.assign(mean=rows["score"], **shares)
    columns = ["mean", *shares]
    items = rows.groupby(["unit_id", "arm", "bin", "exemplar_id"])[columns].mean()
    return items.groupby(level=["unit_id", "arm", "bin"]).mean()


def unit_scores(judgements: pd.DataFrame, units: pd.DataFrame) -> pd.DataFrame:
    """Mean grades of each unit, indexed by unit_id in the order of `units`, with the column names of `units.parquet`.

    `mean_score` weights the bins with a scored judgement equally (bin-uniform); `mean_score_frequency` weights them by `bin_events`,
    the unit's counted tokens in each bin. `shuffled_mean` and `base_rate_mean` are the means of the control arms. A mean is NaN if
    nothing was scored. `n_scored` and `n_unscored` count judgements of the main arm.
    """
    ids = pd.Index(units["unit_id"], name="unit_id")
    cells = cell_means(judgements)["mean"]
    main = _arm(cells, Arm.MAIN)
    result = pd.DataFrame({"kind": units["kind"].to_numpy()}, index=ids)
    result["mean_score"] = _unit_mean(main).reindex(ids)
    result["mean_score_frequency"] = _frequency_mean(main, units).reindex(ids)
    result["shuffled_mean"] = _unit_mean(_arm(cells, Arm.SHUFFLED)).reindex(ids)
    result["base_rate_mean"] = _unit_mean(_arm(cells, Arm.BASE_RATE)).reindex(ids)
    rows = judgements.loc[judgements["arm"].astype("object") == Arm.MAIN.value]
    total = rows.groupby("unit_id").size().reindex(ids, fill_value=0).astype("int64")
    result["n_scored"] = scored_rows(rows).groupby("unit_id").size().reindex(ids, fill_value=0).astype("int64")
    result["n_unscored"] = total - result["n_scored"]
    return result


def bin_table(
    judgements: pd.DataFrame,
    units: pd.DataFrame,
    *,
    bins: int,
    grades: Sequence[int],
    confidence: float,
    resamples: int,
    seed: int,
) -> list[dict[str, Any]]:
    """The main arm by kind and activation bin: one row for each of the `bins` bins of each kind in `units`.

    `n`, `n_unscored` and `count_G` count judgements, `n_units` the units with a grade in the bin, and `events` the counted tokens of
    all sampled units. `mean` and `share_G` weight the units with a grade equally; the interval of the mean is over units.
    """
    kinds = dict(zip(units["unit_id"], units["kind"], strict=True))
    rows = judgements.loc[judgements["arm"].astype("object") == Arm.MAIN.value]
    rows = rows.assign(_kind=rows["unit_id"].map(kinds), _scored=rows["score"].notna())
    cells = cell_means(rows, grades).reset_index()
    cells["_kind"] = cells["unit_id"].map(kinds)
    table: list[dict[str, Any]] = []
    for kind in (k for k in COMPARED if k in set(units["kind"])):
        events = event_counts(units.loc[units["kind"] == kind], bins).sum(axis=0)
        for bin_ in range(1, bins + 1):
            cell = cells.loc[(cells["_kind"] == kind) & (cells["bin"] == bin_)]
            judged = rows.loc[(rows["_kind"] == kind) & (rows["bin"] == bin_)]
            scored = int(judged["_scored"].sum())
            estimate = mean_estimate(cell["mean"], confidence=confidence, resamples=resamples, seed=seed)
            table.append(
                {"kind": kind, "bin": bin_, "low": (bin_ - 1) / bins, "high": bin_ / bins}
                | {"n": scored, "n_unscored": len(judged) - scored, "n_units": estimate.n}
                | {"events": int(events[bin_ - 1])}
                | {"mean": estimate.mean, "ci_low": estimate.ci_low, "ci_high": estimate.ci_high}
                | {f"share_{g}": float(cell[f"share_{g}"].mean()) if len(cell) else None for g in grades}
                | {f"count_{g}": int((judged["score"] == g).sum()) for g in grades}
            )
    return table


def mean_estimate(values: ArrayLike, *, confidence: float, resamples: int, seed: int) -> MeanEstimate:
    """Mean of unit values with a one-sample BCa interval. NaN values stand for units without a score and are left out.

    The interval is None for fewer than `MIN_FOR_INTERVAL` units and if all values are the same.
    """
    sample = _sample(values)
    if not len(sample):
        return MeanEstimate(mean=None, ci_low=None, ci_high=None, n=0)
    low, high = _bca([sample], confidence, resamples, seed)
    return MeanEstimate(mean=float(sample.mean()), ci_low=low, ci_high=high, n=len(sample))


def compare(features: ArrayLike, neurons: ArrayLike, *, confidence: float, resamples: int, seed: int) -> Comparison:
    """Features compared with neurons as independent samples of unit means. NaN values are left out.

    The difference has a two-sample BCa interval over units (Efron and Tibshirani 1993, chapter 14), or None for fewer than
    `MIN_FOR_INTERVAL` units of a kind and if both samples are constant. For P(feature > neuron) see `superiority`.
    """
    f, n = _sample(features), _sample(neurons)
    f_mean, n_mean = (float(s.mean()) if len(s) else None for s in (f, n))
    if f_mean is None or n_mean is None:
        return _comparison(f, n, f_mean, n_mean, None, (None, None), (None, None, None))
    interval = _bca([f, n], confidence, resamples, seed)
    p = superiority(f, n, confidence=confidence)
    return _comparison(f, n, f_mean, n_mean, f_mean - n_mean, interval, p)


def _comparison(
    features: Floats,
    neurons: Floats,
    features_mean: float | None,
    neurons_mean: float | None,
    difference: float | None,
    interval: tuple[float | None, float | None],
    p_superior: tuple[float | None, float | None, float | None],
) -> Comparison:
    return Comparison(
        features_mean=features_mean,
        neurons_mean=neurons_mean,
        difference=difference,
        ci_low=interval[0],
        ci_high=interval[1],
        p_superior=p_superior[0],
        p_superior_ci_low=p_superior[1],
        p_superior_ci_high=p_superior[2],
        n_features_scored=len(features),
        n_neurons_scored=len(neurons),
    )


def superiority(
    features: ArrayLike, neurons: ArrayLike, *, confidence: float
) -> tuple[float | None, float | None, float | None]:
    """P(feature > neuron) + P(equal) / 2, which is Mann-Whitney's U / (n m), with its lower and upper limit.

    The interval is that of Brunner and Munzel (2000), a t interval on the logit scale, so that it stays within (0, 1). If the samples
    do not overlap, their variance estimate is 0; the interval then inverts the binomial bound on min(n, m) disjoint pairs, which
    is exact and conservative. It is None for fewer than `MIN_FOR_INTERVAL` units of a kind and if all values are equal.
    """
    # Rounded, because unit means that are equal as fractions may differ in the last bit, and a tie must count half.
    f, n = np.round(_sample(features), 12), np.round(_sample(neurons), 12)
    if not len(f) or not len(n):
        return None, None, None
    above, below = _placements(f, n), 1 - _placements(n, f)
    p = float(above.mean())
    if min(len(f), len(n)) < MIN_FOR_INTERVAL:
        return p, None, None
    if p in (0.0, 1.0):
        bound = float(((1 - confidence) / 2) ** (1 / min(len(f), len(n))))
        return (p, bound, 1.0) if p else (p, 0.0, 1 - bound)
    parts = np.array([above.var(ddof=1) / len(f), below.var(ddof=1) / len(n)])
    variance = float(parts.sum())
    if variance < _SAME:
        return p, None, None
    # Degrees of freedom by Welch and Satterthwaite; the delta method divides the standard error by p (1 - p) on the logit scale.
    freedom = variance**2 / float((parts**2 / [len(f) - 1, len(n) - 1]).sum())
    width = float(stats.t.ppf((1 + confidence) / 2, freedom)) * math.sqrt(variance) / (p * (1 - p))
    logit = math.log(p / (1 - p))
    return p, float(stats.logistic.cdf(logit - width)), float(stats.logistic.cdf(logit + width))


def paired_differences(judgements: pd.DataFrame, control: Arm) -> pd.Series[float]:
    """Mean grade of the main arm minus that of `control`, for each unit that has both, indexed by unit_id.

    The shuffled arm grades the unit's own exemplars, so bins are matched: it is the mean, over bins graded in both arms, of the
    difference of bin means. If the arms share no bin, as with the silent windows of the base rate, it is the difference of their means.
    """
    cells = cell_means(judgements)["mean"]
    main, controls = _arm(cells, Arm.MAIN), _arm(cells, control)
    matched = _unit_mean((main - controls).dropna())
    overall = (_unit_mean(main) - _unit_mean(controls)).dropna()
    return matched.reindex(overall.index).fillna(overall)


def event_counts(units: pd.DataFrame, bins: int) -> NDArray[np.int64]:
    """`bin_events` as an array (units, bins), with zeros for dead units, whose value is null or empty.

    Raises ValueError if a unit has another number of bins.
    """
    counts = np.zeros((len(units), bins), dtype=np.int64)
    for row, events in enumerate(units["bin_events"]):
        if isinstance(events, list | tuple | np.ndarray) and len(events):
            if len(events) != bins:
                raise ValueError(f"units: bin_events has {len(events)} bins but the spec has {bins}: harvest again")
            counts[row] = events
    return counts


def _arm(cells: pd.Series[float], arm: Arm) -> pd.Series[float]:
    return cells.loc[cells.index.get_level_values("arm") == arm.value].droplevel("arm")


def _unit_mean(cells: pd.Series[float]) -> pd.Series[float]:
    return cells.groupby(level="unit_id").mean()


def _frequency_mean(main: pd.Series[float], units: pd.DataFrame) -> pd.Series[float]:
    bins = max((len(e) for e in units["bin_events"] if isinstance(e, list | tuple | np.ndarray)), default=0)
    events = event_counts(units, bins)
    row = {unit_id: i for i, unit_id in enumerate(units["unit_id"])}
    pairs = zip(main.index.get_level_values("unit_id"), main.index.get_level_values("bin"), strict=True)
    weights = pd.Series([float(events[row[u], b - 1]) if b <= bins else 0.0 for u, b in pairs], main.index, dtype=float)
    total = weights.groupby(level="unit_id").sum()
    return (main * weights).groupby(level="unit_id").sum() / total.where(total > 0)


def _sample(values: ArrayLike) -> Floats:
    """The finite values, sorted so that seeded resamples do not depend on the order of rows."""
    array = np.asarray(values, dtype=np.float64)
    return np.sort(array[np.isfinite(array)])


def _placements(values: Floats, others: Floats) -> Floats:
    """For each value the share of `others` below it, ties counting half. Both must be sorted."""
    left, right = (np.searchsorted(others, values, side=side) for side in ("left", "right"))
    return np.asarray((left + right) / (2 * len(others)), dtype=np.float64)


def _bca(samples: Sequence[Floats], confidence: float, resamples: int, seed: int) -> tuple[float | None, float | None]:
    """BCa interval of the mean of one sample, or of the difference of means of two; (None, None) if it is undefined."""
    if min(map(len, samples)) < MIN_FOR_INTERVAL or all(np.ptp(sample) < _SAME for sample in samples):
        return None, None
    # The bootstrap uses neither n / (n - 1) nor the t quantile: without both, nominal 95% intervals of 20 skewed units cover 93%.
    # So it is asked for a higher confidence, that of a normal quantile as large as both together (Hesterberg 2015, section 4).
    n, freedom = min(map(len, samples)), sum(len(sample) - 1 for sample in samples)
    quantile = math.sqrt(n / (n - 1)) * float(stats.t.ppf((1 + confidence) / 2, freedom))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        interval = stats.bootstrap(
            samples,
            _mean_or_difference,
            vectorized=True,
            confidence_level=2 * float(stats.norm.cdf(quantile)) - 1,
            n_resamples=resamples,
            batch=max(1, _BATCH_VALUES // max(map(len, samples))),
            method="BCa",
            rng=np.random.default_rng(seed),
        ).confidence_interval
    low, high = float(interval.low), float(interval.high)
    return (low, high) if math.isfinite(low) and math.isfinite(high) else (None, None)


def _mean_or_difference(*samples: Floats, axis: int) -> Any:
    means = [sample.mean(axis=axis) for sample in samples]
    return means[0] if len(means) == 1 else means[0] - means[1]


def interval_options(spec: Spec) -> dict[str, Any]:
    """The spec's settings of intervals, as keyword arguments: confidence, resamples, seed."""
    return {"confidence": spec.report.confidence, "resamples": spec.report.resamples, "seed": spec.units.seed}
