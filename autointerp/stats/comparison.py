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
from autointerp.stats import bin_uniform, means
from autointerp.stats.bin_uniform import Grades
from autointerp.stats.estimates import MeanEstimate, Part
from autointerp.stats.means import MIN_FOR_INTERVAL as MIN_FOR_INTERVAL
from autointerp.stats.means import Floats, Limits, Scale
from autointerp.stats.superiority import Superiority, superiority

_BATCH_VALUES = 1 << 22
"""Number of values resampled at once, which bounds memory at tens of MB for any number of units."""


class Comparison(Part):
    """Features compared with neurons, both as samples of units."""

    features_mean: float | None
    """Mean grade of the features; null if no feature has a grade."""
    neurons_mean: float | None
    """Mean grade of the neurons; null if no neuron has a grade."""
    difference: float | None
    """Features' mean minus neurons' mean."""
    ci_low: float | None
    """Lower end of the difference's interval; null if it cannot be computed."""
    ci_high: float | None
    """Upper end of the difference's interval; null if it cannot be computed."""
    why: str | None = None
    """Why the difference or its interval is missing; null if both are there."""
    freedom: float | None = None
    """Degrees of freedom of the difference's interval, which measure how many units inform it; null without an interval."""
    p_superior: float | None
    """P(feature > neuron): the share of feature-neuron pairs in which the feature has the higher mean grade over the bins that both
    have, ties counting half."""
    p_superior_ci_low: float | None
    """Lower end of the interval of `p_superior`; null if it cannot be computed."""
    p_superior_ci_high: float | None
    """Upper end of the interval of `p_superior`; null if it cannot be computed."""
    p_superior_why: str | None = None
    """Why `p_superior` or its interval is missing; null if both are there."""
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


def arm_means(judgements: pd.DataFrame, arm: Arm) -> pd.Series[float]:
    """Mean grade of each unit in an arm, its bins weighted equally, by unit_id; units without a grade there are missing."""
    return _unit_mean(_arm(cell_means(judgements)["mean"], arm))


def bin_grades(judgements: pd.DataFrame, units: pd.DataFrame, bins: int | None = None) -> Grades:
    """The mean grades of the main arm by unit and bin, and the bins in which features and neurons can be compared.

    Without the number of `bins`, those are known in which a unit has a grade.
    """
    kinds = dict(zip(units["unit_id"], units["kind"], strict=True))
    cells = _arm(cell_means(judgements)["mean"], Arm.MAIN)
    graded = sorted(set(cells.index.get_level_values("bin")))
    return bin_uniform.grades_of(cells, kinds, graded if bins is None else range(1, bins + 1))


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
    options: dict[str, Any] = {"confidence": confidence, "resamples": resamples, "seed": seed}
    scale, table = (float(min(grades)), float(max(grades))), []
    for kind in (k for k in COMPARED if k in set(units["kind"])):
        events = event_counts(units.loc[units["kind"] == kind], bins).sum(axis=0)
        for bin_ in range(1, bins + 1):
            cell = cells.loc[(cells["_kind"] == kind) & (cells["bin"] == bin_)]
            judged = rows.loc[(rows["_kind"] == kind) & (rows["bin"] == bin_)]
            scored = int(judged["_scored"].sum())
            estimate = mean_estimate(cell["mean"], scale=scale, **options, empty=ungraded(len(judged)))
            table.append(
                {"kind": kind, "bin": bin_, "low": (bin_ - 1) / bins, "high": bin_ / bins}
                | {"n": scored, "n_unscored": len(judged) - scored, "n_units": estimate.n}
                | {"events": int(events[bin_ - 1])}
                | estimate.model_dump(include={"mean", "ci_low", "ci_high", "why", "freedom"})
                | {f"share_{g}": float(cell[f"share_{g}"].mean()) if len(cell) else None for g in grades}
                | {f"count_{g}": int((judged["score"] == g).sum()) for g in grades}
            )
    return table


def ungraded(n_judged: int) -> str:
    """Why nothing has a grade, among this many judgements."""
    return "none of its judgements has a grade" if n_judged else "nothing was judged"


def mean_estimate(
    values: ArrayLike,
    *,
    confidence: float,
    resamples: int,
    seed: int,
    scale: Scale | None = None,
    empty: str = "no unit has a value",
) -> MeanEstimate:
    """Mean of unit values with its interval: that of `means.mean_limits` on a scale, without a scale a BCa interval.

    NaN values stand for units without a score and are left out. There is no interval for fewer than `MIN_FOR_INTERVAL` units and if
    all values are the same. `empty` is the reason given if no unit has a value.
    """
    sample = means.finite(values)
    if not len(sample):
        return MeanEstimate(mean=None, ci_low=None, ci_high=None, n=0, why=empty)
    if scale is not None:
        found = means.mean_limits(sample, confidence=confidence, scale=scale)
    else:
        low, high = _bca(sample, confidence, resamples, seed)
        why = means.no_spread(sample, "units")
        found = Limits(low, high, why, None if why else means.spread(sample).freedom)
    return MeanEstimate(
        mean=float(sample.mean()),
        ci_low=found.low,
        ci_high=found.high,
        n=len(sample),
        why=found.why,
        freedom=found.freedom,
    )


def compare(features: ArrayLike, neurons: ArrayLike, *, confidence: float, scale: Scale | None = None) -> Comparison:
    """Features compared with neurons as independent samples of unit means on a scale. NaN values are left out.

    For the interval of the difference see `means.difference_limits`, for P(feature > neuron) `superiority`.
    """
    samples = [means.finite(values) for values in (features, neurons)]
    found = superiority(*samples, confidence=confidence)
    of_kind = [float(sample.mean()) if len(sample) else None for sample in samples]
    return _comparison(samples, of_kind, found, confidence, scale, None)


def compare_bins(grades: Grades, *, confidence: float, scale: Scale) -> Comparison:
    """Features compared with neurons bin by bin, all compared bins weighted equally.

    See `bin_uniform` for the estimate; intervals are those of `compare`, for the units' influence on it.
    """
    tables = [grades.of(kind) for kind in COMPARED]
    samples = [np.sort(bin_uniform.unit_values(table)) if len(table) else np.empty(0) for table in tables]
    of_kind = [float(table.mean().mean()) if len(table) else None for table in tables]
    found = superiority(*(table.to_numpy() for table in tables), confidence=confidence)
    why = None if grades.compared else "no activation bin has a grade in enough units of each kind"
    values = _comparison(samples, of_kind, found, confidence, scale, why)
    features, neurons = (len(grades.table[kind]) for kind in COMPARED)
    return values.model_copy(update={"n_features_scored": features, "n_neurons_scored": neurons})


def _comparison(
    samples: Sequence[Floats],
    of_kind: Sequence[float | None],
    superior: Superiority,
    confidence: float,
    scale: Scale | None,
    why: str | None,
) -> Comparison:
    features, neurons = of_kind
    difference, found = None, Limits(None, None, why or "a kind has no unit with a grade", None)
    if features is not None and neurons is not None:
        difference = features - neurons
        found = means.difference_limits(*samples, confidence=confidence, scale=scale)
    return Comparison(
        features_mean=features,
        neurons_mean=neurons,
        difference=difference,
        ci_low=found.low,
        ci_high=found.high,
        why=found.why,
        freedom=found.freedom,
        p_superior=superior.p,
        p_superior_ci_low=superior.low,
        p_superior_ci_high=superior.high,
        p_superior_why=superior.why,
        n_features_scored=len(samples[0]),
        n_neurons_scored=len(samples[1]),
    )


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


def _bca(sample: Floats, confidence: float, resamples: int, seed: int) -> tuple[float | None, float | None]:
    """BCa interval of the mean of a sample (Efron and Tibshirani 1993, chapter 14); (None, None) if it is undefined."""
    if means.no_spread(sample, "units"):
        return None, None
    # The bootstrap uses neither n / (n - 1) nor the t quantile: without both, nominal 95% intervals of 20 skewed units cover 93%.
    # So it is asked for a higher confidence, that of a normal quantile as large as both together (Hesterberg 2015, section 4).
    n = len(sample)
    quantile = math.sqrt(n / (n - 1)) * float(stats.t.ppf((1 + confidence) / 2, n - 1))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        interval = stats.bootstrap(
            (sample,),
            np.mean,
            vectorized=True,
            confidence_level=2 * float(stats.norm.cdf(quantile)) - 1,
            n_resamples=resamples,
            batch=max(1, _BATCH_VALUES // n),
            method="BCa",
            rng=np.random.default_rng(seed),
        ).confidence_interval
    low, high = float(interval.low), float(interval.high)
    return (low, high) if math.isfinite(low) and math.isfinite(high) else (None, None)


def interval_options(spec: Spec) -> dict[str, Any]:
    """The spec's settings of intervals, as keyword arguments: confidence, resamples, seed."""
    return {"confidence": spec.report.confidence, "resamples": spec.report.resamples, "seed": spec.units.seed}
