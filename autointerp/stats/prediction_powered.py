"""The headline as people would have graded it, from a judge's grades of everything and people's of a sample.

A judge's errors do not average out: more of its grades only make a wrong figure narrower. Prediction-powered inference
(Angelopoulos et al., arXiv 2301.09633; with power tuning, "PPI++", 2311.01453) keeps the judge's mean and adds the error seen
on the labelled items. Three things differ from the papers, for the data do: an item counts by its weight in the headline
(bins equal within a unit, units within a kind) over its chance of being labelled; units, not items, are independent;
and strata of the sample take their share off the variance. With one item a unit, equal weights and no strata it is
PPI++ with a t quantile.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from autointerp.records import COMPARED, Arm
from autointerp.stats.comparison import scored_rows
from autointerp.stats.estimates import Figure, Part

Floats = NDArray[np.float64]
MIN_LABELS = 15
"""Fewer labels than this give no figure: simulated intervals cover too little."""
MIN_UNITS = 5
"""Nor do labels in fewer units of a kind than this."""


class Corrected(Figure):
    """A mean or a difference of means corrected by labels."""

    judge: float | None
    """The same figure by the judge alone."""
    n_labels: int
    """Items with a label."""
    n_units: int
    """Units that have a label."""
    power: float | None
    """Weight of the judge's grades in the estimate, from 0 (labels only) to 1."""


class CorrectedHeadline(Part):
    """The headline corrected by labels. Where the difference is given all three share its power, so it is that of the two means."""

    features: Corrected
    """Mean grade of the features."""
    neurons: Corrected
    """Mean grade of the neurons."""
    difference: Corrected
    """Features minus neurons."""


class Items(NamedTuple):
    """The graded items of one kind as arrays of one length.

    `unit` and `stratum` are codes from 0, `stratum` -1 for items that were not sampled. `weight` is the item's in the
    kind's mean and sums to 1; `grade` the judge's, `label` the raters' (NaN without); `probability` that of being sampled.
    """

    unit: NDArray[np.int64]
    weight: Floats
    grade: Floats
    label: Floats
    stratum: NDArray[np.int64]
    probability: Floats


class _Sample(NamedTuple):
    """What one kind adds to an estimate that relies on the judge with any power.

    `label_mean` and `seen_mean` are the raters' and the judge's mean on labelled items, weighted to stand for all;
    `judge_mean` is the judge's on all. A unit's contribution to the error is `label_part - power * seen_part`, a labelled
    item's part of that `label_errors - power * seen_errors`.
    """

    label_mean: float
    seen_mean: float
    judge_mean: float
    label_part: Floats
    seen_part: Floats
    labelled: NDArray[np.bool_]
    label_errors: Floats
    seen_errors: Floats
    strata: NDArray[np.int64]
    chance: Floats


def headline(
    judgements: pd.DataFrame, labels: pd.DataFrame, units: pd.DataFrame, *, confidence: float
) -> CorrectedHeadline:
    """The bin-uniform headline of `stats.compare`, corrected.

    `judgements` are one judge's, as in `judgements.parquet`; `units` needs unit_id and kind. `labels` has a row an item of the
    sample that people were asked to grade: exemplar_id, stratum, probability (of being in the sample, given the judged
    items) and score, null where nobody has graded it yet: within a stratum those that are graded stand for all of it,
    so items must be served in random order. Where there is `arm`, only the main arm counts.
    """
    sample = labels.loc[labels["arm"].astype("object") == Arm.MAIN.value] if "arm" in labels else labels
    sample = sample.drop_duplicates("exemplar_id").set_index("exemplar_id")
    items = weighted_items(judgements, units)
    items = items.join(sample[["stratum", "probability", "score"]].rename(columns={"score": "label"}))
    found = []
    for kind in COMPARED:
        rows = items.loc[items["kind"] == kind]
        codes = [pd.factorize(rows[name], sort=True)[0] for name in ("unit_id", "stratum")]
        weight, grade, label, probability = (
            rows[name].to_numpy(dtype=np.float64, na_value=np.nan)
            for name in ("weight", "grade", "label", "probability")
        )
        found.append(Items(codes[0], weight, grade, label, codes[1], probability))
    return correct(found[0], found[1], confidence=confidence)


def weighted_items(judgements: pd.DataFrame, units: pd.DataFrame) -> pd.DataFrame:
    """The main arm's graded exemplars, indexed by exemplar_id: unit_id, kind, grade and weight in the mean of their kind.

    Repeats are averaged. The weights of a kind sum to 1 and `(weight * grade).sum()` is its mean in the headline.
    """
    rows = scored_rows(judgements)
    rows = rows.loc[rows["arm"].astype("object") == Arm.MAIN.value]
    items = rows.groupby(["unit_id", "bin", "exemplar_id"])["score"].mean().rename("grade").reset_index()
    items["kind"] = items["unit_id"].map(dict(zip(units["unit_id"], units["kind"], strict=True)))
    in_bin = items.groupby(["unit_id", "bin"])["grade"].transform("size")
    bins = items.groupby("unit_id")["bin"].transform("nunique")
    of_kind = items.groupby("kind")["unit_id"].transform("nunique")
    items["weight"] = 1.0 / (in_bin * bins * of_kind)
    return items.set_index("exemplar_id")[["unit_id", "kind", "grade", "weight"]]


def correct(features: Items, neurons: Items, *, confidence: float) -> CorrectedHeadline:
    """`headline` from arrays."""
    kinds = (features, neurons)
    means = [_uncorrected([items], [1], _too_few([items], f"{k}s")) for items, k in zip(kinds, COMPARED, strict=True)]
    difference = _uncorrected(kinds, (1, -1), _too_few(kinds, "both kinds"))
    if difference.why is None:
        pair = [_sample(items) for items in kinds]
        difference = _figure(pair, (1, -1), best_power(pair), confidence)
    for i, mean in enumerate(means):
        if mean.why is None:
            sample = _sample(kinds[i])
            power = difference.power if difference.power is not None else best_power([sample])
            means[i] = _figure([sample], [1], power, confidence)
    return CorrectedHeadline(features=means[0], neurons=means[1], difference=difference)


def best_power(samples: Sequence[_Sample]) -> float:
    """The power in [0, 1] with the least estimated variance, one for all kinds: one for each is noisy and under-covers."""
    label, seen = (np.concatenate([getattr(s, name) for s in samples]) for name in ("label_part", "seen_part"))
    spread = float(seen @ seen)
    return float(np.clip(label @ seen / spread, 0, 1)) if spread > 0 else 0.0


def _too_few(kinds: Sequence[Items], name: str) -> str | None:
    done = [~np.isnan(items.label) for items in kinds]
    n = sum(int(d.sum()) for d in done)
    if n < MIN_LABELS:
        return f"{n} labels of {name}, fewer than {MIN_LABELS}: label more"
    least = min(len(np.unique(items.unit[d])) for items, d in zip(kinds, done, strict=True))
    if least < MIN_UNITS:
        return f"labels in {least} units of a kind, fewer than {MIN_UNITS}: label more"
    strata = [(set(items.stratum) - {-1}) - set(items.stratum[d]) for items, d in zip(kinds, done, strict=True)]
    missing = sum(map(len, strata))
    return f"no label yet in {missing} of the strata of {name}: label on" if missing else None


def _uncorrected(kinds: Sequence[Items], signs: Sequence[int], why: str | None) -> Corrected:
    done = [~np.isnan(items.label) for items in kinds]
    judge = [
        float(items.weight @ items.grade) * sign for items, sign in zip(kinds, signs, strict=True) if len(items.unit)
    ]
    labelled = sum(len(np.unique(items.unit[d])) for items, d in zip(kinds, done, strict=True))
    n = sum(int(d.sum()) for d in done)
    by_judge = sum(judge) if len(judge) == len(kinds) else None
    return Corrected(
        value=None, ci_low=None, ci_high=None, why=why, judge=by_judge, n_labels=n, n_units=labelled, power=None
    )


def _sample(items: Items) -> _Sample:
    n_units, judge_mean = int(items.unit.max()) + 1, float(items.weight @ items.grade)
    unit_parts = np.bincount(items.unit, items.weight * (items.grade - judge_mean), n_units)
    done = ~np.isnan(items.label)
    unit, strata = items.unit[done], items.stratum[done]
    seen, given, probability = items.grade[done], items.label[done], items.probability[done]
    asked = np.bincount(items.stratum[items.stratum >= 0])
    chance = probability * (np.bincount(strata, minlength=len(asked)) / np.maximum(asked, 1))[strata]
    share = items.weight[done] / chance
    share /= share.sum()
    means = float(share @ given), float(share @ seen)
    label_errors, seen_errors = share * (given - means[0]), share * (seen - means[1])
    return _Sample(
        means[0],
        means[1],
        judge_mean,
        np.bincount(unit, label_errors, n_units).astype(np.float64),
        np.asarray(np.bincount(unit, seen_errors, n_units) - unit_parts, dtype=np.float64),
        np.bincount(unit, minlength=n_units) > 0,
        label_errors,
        seen_errors,
        items.stratum[done],
        chance,
    )


def _figure(samples: Sequence[_Sample], signs: Sequence[int], power: float, confidence: float) -> Corrected:
    pairs = list(zip(signs, samples, strict=True))
    value = sum(sign * (s.label_mean + power * (s.judge_mean - s.seen_mean)) for sign, s in pairs)
    judge = sum(sign * s.judge_mean for sign, s in pairs)
    n, labelled = sum(len(s.strata) for s in samples), sum(int(s.labelled.sum()) for s in samples)
    parts = [part for s in samples for part in _variances(s, power)]
    # The power was fitted to these same labels, which makes their residuals too small by one degree of freedom.
    variance = sum(v for v, _ in parts) * labelled / (labelled - 1)
    if variance <= 0:
        why = "no interval: the labels and the judge's grades do not vary"
        return Corrected(
            value=value, ci_low=None, ci_high=None, why=why, judge=judge, n_labels=n, n_units=labelled, power=power
        )
    # Welch and Satterthwaite.
    freedom = sum(v for v, _ in parts) ** 2 / sum(v**2 / df for v, df in parts)
    half = float(stats.t.ppf((1 + confidence) / 2, freedom)) * math.sqrt(variance)
    return Corrected(
        value=value,
        ci_low=value - half,
        ci_high=value + half,
        why=None,
        judge=judge,
        n_labels=n,
        n_units=labelled,
        power=power,
    )


def _variances(sample: _Sample, power: float) -> list[tuple[float, float]]:
    """Variance and degrees of freedom from units with a label and from those without."""
    parts = sample.label_part - power * sample.seen_part
    n_strata = len(np.unique(sample.strata))
    groups = [(parts[sample.labelled], n_strata), (parts[~sample.labelled], 1)]
    if min(len(values) for values, _ in groups) < 2:
        groups = [(parts, n_strata)]
    squares = [float(((values - values.mean()) ** 2).sum()) * len(values) / (len(values) - 1) for values, _ in groups]
    # Never below a tenth: the difference of two estimates could be.
    squares[0] = max(squares[0] - _strata_gain(sample, power), squares[0] / 10)
    freedoms = [float(max(len(values) - lost, 1)) for values, lost in groups]
    return list(zip(squares, freedoms, strict=True))


def _strata_gain(sample: _Sample, power: float) -> float:
    """What the sum of squares over units has too much: strata's sizes are fixed, so their means add no sampling variance.

    Only the labelling gains, a share 1 - chance of an item's square: which units and items there are was not stratified.
    """
    errors = sample.label_errors - power * sample.seen_errors
    n, square, total, missed = (
        np.bincount(sample.strata, values) for values in (None, errors**2, errors, 1 - np.minimum(sample.chance, 1.0))
    )
    n, square, total, missed = (values[n > 1] for values in (n, square, total, missed))
    spread = (square - total**2 / n) * n / (n - 1)
    return max(float((missed / n * (square - spread)).sum()), 0.0)
