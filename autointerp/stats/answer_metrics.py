"""Metrics of answers and predictions against the truth, by the field's definitions, as pure functions.

A metric that the data do not define is None, never NaN, a warning or a silent 0. Correlations and ranks are scipy's. Counts and
average precision take a few lines here; scikit-learn's take milliseconds each, minutes for a thousand units, and the tests compare
the two.

Precision and recall are those of *Evaluating Neuron Explanations* (arXiv 2506.05774): the unit's activity is the truth and the
explanation's claim is the answer, so recall is P(answer | truth) and precision P(truth | answer).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from autointerp.json_values import finite

Floats = NDArray[np.float64]
Metric = float | None


def yes_no(truth: Sequence[bool], answers: Sequence[bool]) -> dict[str, Metric]:
    """All metrics of yes-or-no answers, by name.

    `balanced_accuracy` is the mean of the shares of true and of false items answered correctly: a constant answer gets 0.5.
    `accuracy` is the share of all items answered correctly: if most are false, always answering no does well (0.714 with SAEBench's
    10 false of 14). `precision` is the share of yes-answers that are correct, `recall` the share of true items answered yes, `f1` their
    harmonic mean, and `iou` TP / (TP + FP + FN). Undefined are balanced accuracy without true or without false items, precision
    without a yes, and recall, F1 and IoU without true items. (delphi counts a missing class, and precision without a yes, as 0.)
    """
    pairs = Counter((bool(t), bool(a)) for t, a in zip(truth, answers, strict=True))
    tp, fp, fn, tn = (pairs[key] for key in ((True, True), (False, True), (True, False), (False, False)))
    recall, rejected = _share(tp, tp + fn), _share(tn, tn + fp)
    return {
        "balanced_accuracy": None if recall is None or rejected is None else (recall + rejected) / 2,
        "f1": _share(2 * tp, 2 * tp + fp + fn) if tp + fn else None,
        "precision": _share(tp, tp + fp),
        "recall": recall,
        "accuracy": _share(tp + tn, len(truth)),
        "iou": _share(tp, tp + fp + fn) if tp + fn else None,
    }


def balanced_accuracy(truth: Sequence[bool], answers: Sequence[bool]) -> Metric:
    """Mean of the shares of true and of false items answered correctly; see `yes_no`."""
    return yes_no(truth, answers)["balanced_accuracy"]


def auroc(truth: Sequence[bool], values: ArrayLike) -> Metric:
    """Probability that a true item has a larger value than a false one, ties counting half. None unless there are both."""
    if not _both(truth):
        return None
    is_true = np.asarray(truth, dtype=bool)
    ranks = stats.rankdata(_finite(values))[is_true]
    return float((ranks.sum() - len(ranks) * (len(ranks) + 1) / 2) / (len(ranks) * (~is_true).sum()))


def separation(truth: Sequence[bool], values: ArrayLike) -> Metric:
    """2 AUROC - 1: 1 if every true item has a larger value than every false one, -1 if every true item has a smaller one."""
    area = auroc(truth, values)
    return None if area is None else 2 * area - 1


def auprc(truth: Sequence[bool], values: ArrayLike) -> Metric:
    """Average precision: the mean over true items of the precision at their rank, tied values sharing a rank.

    Guessing gets the share of true items. None unless there are true and false items.
    """
    if not _both(truth):
        return None
    _, rank = np.unique(-_finite(values), return_inverse=True)
    hits = np.bincount(rank, np.asarray(truth, dtype=np.float64))
    return float(hits @ (np.cumsum(hits) / np.cumsum(np.bincount(rank))) / hits.sum())


def pearson(truth: ArrayLike, predicted: ArrayLike) -> Metric:
    """Pearson's correlation: 0 for a constant prediction, which carries no information, and None for a constant truth."""
    return _correlation("pearsonr", truth, predicted)


def spearman(truth: ArrayLike, predicted: ArrayLike) -> Metric:
    """Spearman's rank correlation, ties sharing their mean rank: 0 for a constant prediction and None for a constant truth.

    A constant prediction scores 0 as in Towards Monosemanticity (2023), appendix on automated interpretability.
    """
    return _correlation("spearmanr", truth, predicted)


def cosine(truth: ArrayLike, predicted: ArrayLike) -> Metric:
    """Cosine similarity: 0 if all predictions are 0, None if the truth is 0 throughout."""
    a, b = _finite(truth), _finite(predicted)
    norms = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    if not norms[0]:
        return None
    return float(a @ b / norms[0] / norms[1]) if norms[1] else 0.0


def square_explained(truth: ArrayLike, predicted: ArrayLike) -> Metric:
    """1 - mean squared error / mean square of the truth: 0 if all predictions are 0, None if the truth is 0 throughout.

    neuron-explainer calls it R^2. It is not the usual coefficient of determination, because the truth's mean is not subtracted.
    """
    a, b = _finite(truth), _finite(predicted)
    return float(1 - np.mean((a - b) ** 2) / np.mean(a**2)) if a.any() else None


def deviation_explained(truth: ArrayLike, predicted: ArrayLike) -> Metric:
    """1 - mean absolute error / mean absolute truth: 0 if all predictions are 0, None if the truth is 0 throughout."""
    a, b = _finite(truth), _finite(predicted)
    return float(1 - np.mean(np.abs(a - b)) / np.mean(np.abs(a))) if a.any() else None


def _share(part: int, whole: int) -> Metric:
    return part / whole if whole else None


def _both(truth: Sequence[bool]) -> bool:
    return len(set(map(bool, truth))) == 2


def _finite(values: ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError("a value is not finite: leave out unanswered items before computing a metric")
    return array


def _correlation(name: str, truth: ArrayLike, predicted: ArrayLike) -> Metric:
    a, b = _finite(truth), _finite(predicted)
    if len(a) < 2 or not _varies(a):
        return None
    if not _varies(b):
        return 0.0
    return finite(getattr(stats, name)(a, b).statistic)


def _varies(values: Floats) -> bool:
    """Whether the values differ by more than rounding errors. If they do not, scipy warns and returns noise."""
    return float(np.ptp(values)) > 1e-12 * float(np.abs(values).max())
