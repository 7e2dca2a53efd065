"""Prediction-powered inference: the headline as people would have graded it, estimated from few labels and many judge grades.

A judge's errors do not average out: more of its grades only narrow the interval around a wrong value. Prediction-powered
inference (Angelopoulos et al., arXiv 2301.09633; with power tuning, "PPI++", arXiv 2311.01453) starts from the judge's mean over
all items and adds the mean error of the judge on the labelled items. Three things differ from the papers, because of the data:
an item counts by its weight in the headline (bins equal within a unit, units equal within a kind) divided by its probability of
being labelled; units are independent, items are not; and the sample of labels is stratified, which lowers the variance. With one
item per unit, equal weights and no strata, the estimate is that of PPI++ with a t quantile.

If nearly all labels are alike, the variance is known badly: its degrees of freedom follow from the units' errors (`jackknife`), a mean
near an end of the scale has Wilson's interval, and there is none if strata of equal labels may hide more than it shows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from autointerp.formatting import plural
from autointerp.records import COMPARED, Arm
from autointerp.stats import jackknife
from autointerp.stats.comparison import bin_grades, scored_rows
from autointerp.stats.estimates import Figure, Part
from autointerp.stats.labelled_sample import Items as Items
from autointerp.stats.labelled_sample import Sample, sample_of, variances

MIN_LABELS = 15
"""With fewer labels than this nothing is estimated: simulated intervals under-cover."""
MIN_UNITS = 5
"""Nor is it with labels in fewer units of a kind than this."""
MOST_HIDDEN = 5.0
"""No interval is given if strata of equal labels may hide more than this many times its half-width: in simulations it then covers .89."""


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
    uncertain: str = ""
    """Names of the strata whose labels are all equal although items without a label remain, separated by commas."""


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
        units_of, strata = (pd.factorize(rows[name], sort=True) for name in ("unit_id", "stratum"))
        weight, grade, label, probability = (
            rows[name].to_numpy(dtype=np.float64, na_value=np.nan)
            for name in ("weight", "grade", "label", "probability")
        )
        names = tuple(map(str, strata[1]))
        by_kind.append(Items(units_of[0], weight, grade, label, strata[0], probability, names))
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
    highest = max(float(np.nanmax([*items.grade, *items.label, 0.0])) for items in kinds)
    if difference.why is None:
        samples = [sample_of(items) for items in kinds]
        difference = _estimate(samples, (1, -1), best_power(samples), highest, confidence)
    for i, mean in enumerate(means):
        if mean.why is None:
            sample = sample_of(kinds[i])
            power = difference.power if difference.power is not None else best_power([sample])
            means[i] = _estimate([sample], [1], power, highest, confidence)
    return CorrectedHeadline(features=means[0], neurons=means[1], difference=difference)


def best_power(samples: Sequence[Sample]) -> float:
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


def _estimate(
    samples: Sequence[Sample], signs: Sequence[int], power: float, highest: float, confidence: float
) -> Corrected:
    """The sum over kinds of sign times corrected mean, with a t interval (degrees of freedom by Welch and Satterthwaite).

    A mean between 0 and `highest` has Wilson's interval instead, as a share of `highest`: near an end of the scale it is skew.
    """
    signed = list(zip(signs, samples, strict=True))
    value = sum(sign * (s.label_mean + power * (s.judge_mean - s.labelled_judge_mean)) for sign, s in signed)
    judge = sum(sign * s.judge_mean for sign, s in signed)
    n_labels, n_units = sum(len(s.stratum) for s in samples), sum(int(s.has_label.sum()) for s in samples)
    parts = [part for s in samples for part in variances(s, power)]
    # The power was fitted to these same labels, which makes their residuals too small by one degree of freedom.
    variance = sum(v for v, _ in parts) * n_units / (n_units - 1)
    uncertain, hidden = [name for s in samples for name in s.uncertain], sum(s.hidden for s in samples)
    names = ", ".join(uncertain)
    ci_low = ci_high = why = None
    freedom = sum(v for v, _ in parts) ** 2 / sum(v**2 / df for v, df in parts) if variance > 0 else 1.0
    half = float(stats.t.ppf((1 + confidence) / 2, freedom)) * math.sqrt(variance)
    all_alike = all(len(s.uncertain) == len(np.unique(s.stratum)) for s in samples)
    if all_alike or hidden > MOST_HIDDEN * half:
        strata = plural(len(uncertain), "stratum", "strata")
        why = f"no interval: too few labels of {strata} whose labels are all equal ({names})"
    elif not half:
        why = "no interval: the labels and the judge's grades do not vary"
    elif len(samples) == 1 and 0 < value < highest:
        low, high = jackknife.on_scale(np.array(value / highest), np.array(half / highest), "share")
        ci_low, ci_high = float(low) * highest, float(high) * highest
    else:
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
        uncertain=names,
    )
