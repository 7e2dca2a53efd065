"""Prediction-powered inference: the headline as people would have graded it, estimated from few labels and many judge grades.

A judge's errors do not average out: more of its grades only narrow the interval around a wrong value. Prediction-powered
inference (Angelopoulos et al., arXiv 2301.09633; with power tuning, "PPI++", arXiv 2311.01453) starts from the judge's mean over
all items and adds the mean error of the judge on the labelled items. Three things differ from the papers, because of the data:
an item counts by its weight in the headline (bins equal within a unit, units equal within a kind) divided by its probability of
being labelled; units are independent, items are not; and the sample of labels is stratified, which lowers the variance. With one
item per unit, equal weights and no strata, the estimate is that of PPI++ with a t quantile.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from autointerp.formatting import plural
from autointerp.records import COMPARED, Arm
from autointerp.stats.comparison import bin_grades, scored_rows
from autointerp.stats.estimates import Figure, Part

Floats = NDArray[np.float64]
MIN_LABELS = 15
"""With fewer labels than this nothing is estimated: simulated intervals under-cover."""
MIN_UNITS = 5
"""Nor is it with labels in fewer units of a kind than this."""


class Corrected(Figure):
    """A mean grade, or a difference of mean grades, corrected by labels (prediction-powered inference)."""

    judge: float | None
    """The same mean or difference by the judge's grades alone."""
    n_labels: int
    """Number of items with a label."""
    n_units: int
    """Number of units with a labelled item."""
    power: float | None
    """Weight of the judge's grades in the estimate, from 0 (labels only) to 1; null if nothing was estimated."""


class CorrectedHeadline(Part):
    """The headline corrected by labels.

    If the difference could be estimated, all three parts have its `power`, so that it equals the difference of the two means.
    """

    features: Corrected
    """Mean grade of the features."""
    neurons: Corrected
    """Mean grade of the neurons."""
    difference: Corrected
    """Features minus neurons."""


class Items(NamedTuple):
    """The graded items of one kind, as arrays with one entry per item."""

    unit: NDArray[np.int64]
    """Number of the item's unit, from 0."""
    weight: Floats
    """Weight of the item in the kind's mean; the weights sum to 1."""
    grade: Floats
    """The judge's grade."""
    label: Floats
    """The raters' grade, NaN if the item has none."""
    stratum: NDArray[np.int64]
    """Number of the item's stratum, from 0; -1 if the item is not in the sample."""
    probability: Floats
    """Probability that the item is in the sample."""


class _Sample(NamedTuple):
    """The terms of one kind's estimate that do not depend on the power, the weight given to the judge:

    estimate(power) = label_mean + power * (judge_mean - labelled_judge_mean)

    Its error is a sum over units of `unit_label_error - power * unit_judge_error`, and the part of it that comes from labelling
    is a sum over labelled items of `label_error - power * judge_error`.
    """

    label_mean: float
    """Mean label, the labelled items weighted to represent all items."""
    labelled_judge_mean: float
    """The judge's mean over the same items with the same weights."""
    judge_mean: float
    """The judge's mean over all items."""
    unit_label_error: Floats
    unit_judge_error: Floats
    has_label: NDArray[np.bool_]
    """Whether a unit has a labelled item."""
    label_error: Floats
    judge_error: Floats
    stratum: NDArray[np.int64]
    """Stratum of each labelled item."""
    probability: Floats
    """Probability of each labelled item of having been labelled."""


def headline(
    judgements: pd.DataFrame, labels: pd.DataFrame, units: pd.DataFrame, *, confidence: float
) -> CorrectedHeadline:
    """The bin-uniform headline of `comparison.compare`, corrected by labels.

    `judgements` are those of one judge, as in `judgements.parquet`; `units` needs unit_id and kind. `labels` has one row per item of
    the sample that people were asked to grade: exemplar_id, stratum, probability (of being in the sample, given the judged
    items) and score, null if nobody has graded the item yet. Within a stratum the graded items represent all of it, so items must
    be served in random order. If `labels` has a column `arm`, only the main arm counts.
    """
    sample = labels.loc[labels["arm"].astype("object") == Arm.MAIN.value] if "arm" in labels else labels
    sample = sample.drop_duplicates("exemplar_id").set_index("exemplar_id")
    items = weighted_items(judgements, units)
    items = items.join(sample[["stratum", "probability", "score"]].rename(columns={"score": "label"}))
    by_kind = []
    for kind in COMPARED:
        rows = items.loc[items["kind"] == kind]
        codes = [pd.factorize(rows[name], sort=True)[0] for name in ("unit_id", "stratum")]
        weight, grade, label, probability = (
            rows[name].to_numpy(dtype=np.float64, na_value=np.nan)
            for name in ("weight", "grade", "label", "probability")
        )
        by_kind.append(Items(codes[0], weight, grade, label, codes[1], probability))
    return correct(by_kind[0], by_kind[1], confidence=confidence)


def weighted_items(judgements: pd.DataFrame, units: pd.DataFrame) -> pd.DataFrame:
    """The graded exemplars of the main arm, indexed by exemplar_id: unit_id, kind, grade and weight in the mean of their kind.

    Repeats are averaged, and bins that the headline does not compare are left out. The weights of a kind sum to 1, and
    `(weight * grade).sum()` is its mean in the headline.
    """
    rows = scored_rows(judgements)
    rows = rows.loc[rows["arm"].astype("object") == Arm.MAIN.value]
    items = rows.groupby(["unit_id", "bin", "exemplar_id"])["score"].mean().rename("grade").reset_index()
    items["kind"] = items["unit_id"].map(dict(zip(units["unit_id"], units["kind"], strict=True)))
    items = items.loc[items["bin"].isin(bin_grades(judgements, units).compared)]
    in_cell = items.groupby(["unit_id", "bin"])["grade"].transform("size")
    of_bin = items.groupby(["kind", "bin"])["unit_id"].transform("nunique")
    bins = items.groupby("kind")["bin"].transform("nunique")
    items["weight"] = 1.0 / (in_cell * of_bin * bins)
    return items.set_index("exemplar_id")[["unit_id", "kind", "grade", "weight"]]


def correct(features: Items, neurons: Items, *, confidence: float) -> CorrectedHeadline:
    """The corrected headline from the items of both kinds. An estimate for which there are too few labels says so in `why`."""
    kinds = (features, neurons)
    means = [
        _judge_alone([items], [1], _too_few_labels([items], f"{kind}s"))
        for items, kind in zip(kinds, COMPARED, strict=True)
    ]
    difference = _judge_alone(kinds, (1, -1), _too_few_labels(kinds, "both kinds"))
    if difference.why is None:
        samples = [_sample(items) for items in kinds]
        difference = _estimate(samples, (1, -1), best_power(samples), confidence)
    for i, mean in enumerate(means):
        if mean.why is None:
            sample = _sample(kinds[i])
            power = difference.power if difference.power is not None else best_power([sample])
            means[i] = _estimate([sample], [1], power, confidence)
    return CorrectedHeadline(features=means[0], neurons=means[1], difference=difference)


def best_power(samples: Sequence[_Sample]) -> float:
    """The power in [0, 1] with the least estimated variance. It is one for all kinds: one for each is noisy and under-covers."""
    label, judge = (
        np.concatenate([getattr(s, name) for s in samples]) for name in ("unit_label_error", "unit_judge_error")
    )
    # The least-squares slope of the labels' errors on the judge's: PPI++'s power tuning.
    spread = float(judge @ judge)
    return float(np.clip(label @ judge / spread, 0, 1)) if spread > 0 else 0.0


def _too_few_labels(kinds: Sequence[Items], name: str) -> str | None:
    """Why the labels of these kinds do not suffice for an estimate; None if they do."""
    labelled = [~np.isnan(items.label) for items in kinds]
    n = sum(int(has_label.sum()) for has_label in labelled)
    if n < MIN_LABELS:
        return f"only {plural(n, 'label')} of {name}, and at least {MIN_LABELS} are needed"
    n_units = min(len(np.unique(items.unit[has_label])) for items, has_label in zip(kinds, labelled, strict=True))
    if n_units < MIN_UNITS:
        return f"labels in only {plural(n_units, 'unit')} of a kind, and at least {MIN_UNITS} are needed"
    unlabelled = [
        (set(items.stratum) - {-1}) - set(items.stratum[has_label])
        for items, has_label in zip(kinds, labelled, strict=True)
    ]
    missing = sum(map(len, unlabelled))
    return f"no label yet in {plural(missing, 'stratum', 'strata')} of {name}" if missing else None


def _judge_alone(kinds: Sequence[Items], signs: Sequence[int], why: str | None) -> Corrected:
    """The judge's own mean or difference without a correction, and why there is none."""
    labelled = [~np.isnan(items.label) for items in kinds]
    means = [
        float(items.weight @ items.grade) * sign for items, sign in zip(kinds, signs, strict=True) if len(items.unit)
    ]
    return Corrected(
        value=None,
        ci_low=None,
        ci_high=None,
        why=why,
        judge=sum(means) if len(means) == len(kinds) else None,
        n_labels=sum(int(has_label.sum()) for has_label in labelled),
        n_units=sum(len(np.unique(items.unit[has_label])) for items, has_label in zip(kinds, labelled, strict=True)),
        power=None,
    )


def _sample(items: Items) -> _Sample:
    n_units, judge_mean = int(items.unit.max()) + 1, float(items.weight @ items.grade)
    unit_parts = np.bincount(items.unit, items.weight * (items.grade - judge_mean), n_units)
    has_label = ~np.isnan(items.label)
    unit, stratum = items.unit[has_label], items.stratum[has_label]
    grade, label = items.grade[has_label], items.label[has_label]
    # P(labelled) = P(in the sample) * (labelled / sampled in the stratum): raters grade a sample in random order and may stop early.
    n_sampled = np.bincount(items.stratum[items.stratum >= 0])
    n_labelled = np.bincount(stratum, minlength=len(n_sampled))
    probability = items.probability[has_label] * (n_labelled / np.maximum(n_sampled, 1))[stratum]
    # A Hajek estimator: weight / probability, normalised to sum to 1.
    weight = items.weight[has_label] / probability
    weight /= weight.sum()
    label_mean, labelled_judge_mean = float(weight @ label), float(weight @ grade)
    label_error, judge_error = weight * (label - label_mean), weight * (grade - labelled_judge_mean)
    return _Sample(
        label_mean=label_mean,
        labelled_judge_mean=labelled_judge_mean,
        judge_mean=judge_mean,
        unit_label_error=np.bincount(unit, label_error, n_units).astype(np.float64),
        unit_judge_error=np.asarray(np.bincount(unit, judge_error, n_units) - unit_parts, dtype=np.float64),
        has_label=np.bincount(unit, minlength=n_units) > 0,
        label_error=label_error,
        judge_error=judge_error,
        stratum=stratum,
        probability=probability,
    )


def _estimate(samples: Sequence[_Sample], signs: Sequence[int], power: float, confidence: float) -> Corrected:
    """The sum over kinds of sign times corrected mean, with a t interval (degrees of freedom by Welch and Satterthwaite)."""
    signed = list(zip(signs, samples, strict=True))
    value = sum(sign * (s.label_mean + power * (s.judge_mean - s.labelled_judge_mean)) for sign, s in signed)
    judge = sum(sign * s.judge_mean for sign, s in signed)
    n_labels, n_units = sum(len(s.stratum) for s in samples), sum(int(s.has_label.sum()) for s in samples)
    parts = [part for s in samples for part in _variances(s, power)]
    # The power was fitted to these same labels, which makes their residuals too small by one degree of freedom.
    variance = sum(v for v, _ in parts) * n_units / (n_units - 1)
    ci_low = ci_high = why = None
    if variance <= 0:
        why = "no interval: the labels and the judge's grades do not vary"
    else:
        freedom = sum(v for v, _ in parts) ** 2 / sum(v**2 / df for v, df in parts)
        half = float(stats.t.ppf((1 + confidence) / 2, freedom)) * math.sqrt(variance)
        ci_low, ci_high = value - half, value + half
    return Corrected(
        value=value,
        ci_low=ci_low,
        ci_high=ci_high,
        why=why,
        judge=judge,
        n_labels=n_labels,
        n_units=n_units,
        power=power,
    )


def _variances(sample: _Sample, power: float) -> list[tuple[float, float]]:
    """Variance and degrees of freedom of the two groups of units, those with a label and those without.

    The estimate is a sum over n independent units, so its variance is n / (n - 1) times their squares about the group's mean.
    A degree of freedom is lost for each stratum, whose mean is estimated.
    """
    errors = sample.unit_label_error - power * sample.unit_judge_error
    n_strata = len(np.unique(sample.stratum))
    groups = [(errors[sample.has_label], n_strata), (errors[~sample.has_label], 1)]
    if min(len(values) for values, _ in groups) < 2:
        groups = [(errors, n_strata)]
    variances = [float(((values - values.mean()) ** 2).sum()) * len(values) / (len(values) - 1) for values, _ in groups]
    # Never below a tenth: the difference of two estimates could be.
    variances[0] = max(variances[0] - _strata_gain(sample, power), variances[0] / 10)
    freedoms = [float(max(len(values) - lost, 1)) for values, lost in groups]
    return list(zip(variances, freedoms, strict=True))


def _strata_gain(sample: _Sample, power: float) -> float:
    """The variance that stratified labelling saves: the sizes of strata are fixed, so their means add no sampling variance.

    In a stratum of n labelled items with errors e and probabilities p, it is (sum(1 - p) / n) times the difference between sum(e^2),
    the variance without strata, and n / (n - 1) * sum((e - mean(e))^2), the variance with them. The factor is there because only
    labelling was stratified: which units and items there are was not.
    """
    errors = sample.label_error - power * sample.judge_error
    unlabelled_share = 1 - np.minimum(sample.probability, 1.0)
    n, squares, total, unlabelled = (
        np.bincount(sample.stratum, values) for values in (None, errors**2, errors, unlabelled_share)
    )
    n, squares, total, unlabelled = (values[n > 1] for values in (n, squares, total, unlabelled))
    about_the_mean = (squares - total**2 / n) * n / (n - 1)
    return max(float((unlabelled / n * (squares - about_the_mean)).sum()), 0.0)
