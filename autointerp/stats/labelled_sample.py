"""The graded items of one kind of unit, some of them with labels, and the variance of what is estimated from them.

`prediction_powered` combines the kinds and chooses the power, the weight of the judge's grades.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from autointerp.stats import jackknife
from autointerp.stats.jackknife import Floats


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
    names: tuple[str, ...] = ()
    """Names of the strata."""


class Sample(NamedTuple):
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
    uncertain: list[str]
    """Names of the strata whose labels are all equal although items without a label remain."""
    hidden: float
    """How far their other items may move the mean: see `_hidden`."""


def sample_of(items: Items) -> Sample:
    """The terms of one kind's estimate, from its items."""
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
    return Sample(
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
        **_hidden(items, weight, label, stratum, probability),
    )


def _hidden(
    items: Items, weight: Floats, label: Floats, stratum: NDArray[np.int64], probability: Floats
) -> dict[str, Any]:
    """The strata whose labels are all equal, and by how much their unlabelled items may move the mean if they differ by a grade.

    Of n equal labels, up to 1 - 0.025^(1 / n) of a stratum may differ unseen (Clopper and Pearson 1934). `weight` holds the weights of
    the labelled items, which sum to 1.
    """
    uncertain, hidden = [], 0.0
    for h in np.unique(stratum):
        inside = stratum == h
        if np.ptp(label[inside]) == 0 and probability[inside].mean() < 1:
            uncertain.append(items.names[h] if items.names else str(h))
            hidden += float(weight[inside].sum()) * (1 - 0.025 ** (1 / int(inside.sum())))
    return {"uncertain": uncertain, "hidden": hidden}


def variances(sample: Sample, power: float) -> list[tuple[float, float]]:
    """Variance and degrees of freedom of the two groups of units, those with a label and those without.

    The estimate is a sum over n independent units, so its variance is n / (n - 1) times their squares about the group's mean.
    A degree of freedom is lost for each stratum, whose mean is estimated, and there are fewer if few units make most of the variance.
    """
    errors = sample.unit_label_error - power * sample.unit_judge_error
    n_strata = len(np.unique(sample.stratum))
    groups = [(errors[sample.has_label], n_strata), (errors[~sample.has_label], 1)]
    if min(len(values) for values, _ in groups) < 2:
        groups = [(errors, n_strata)]
    variances = [float(((values - values.mean()) ** 2).sum()) * len(values) / (len(values) - 1) for values, _ in groups]
    # Never below a tenth: the difference of two estimates could be.
    variances[0] = max(variances[0] - _strata_gain(sample, power), variances[0] / 10)
    # The kurtosis of units whose errors are all 0 is undefined; they have no variance either.
    by_kurtosis = [np.nan_to_num(jackknife.error_and_freedom(values)[1], nan=np.inf) for values, _ in groups]
    freedoms = [
        max(min(len(values) - lost, float(most)), 1.0) for (values, lost), most in zip(groups, by_kurtosis, strict=True)
    ]
    return list(zip(variances, freedoms, strict=True))


def _strata_gain(sample: Sample, power: float) -> float:
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
