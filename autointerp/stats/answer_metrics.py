"""How well answers, or predictions, fit the truth: the figures of the field, as pure functions.

A figure that the data do not define is None, never NaN, a warning or a silent 0. Correlations and ranks are scipy's. Counts and
average precision are a few lines; scikit-learn's take milliseconds each, minutes for a thousand units, and the tests compare
the two.

*Evaluating Neuron Explanations* (arXiv 2506.05774) calls P(said | true) recall and P(true | said) precision, and so do we: the unit's
activity is the truth, the explanation's claim is what was said.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]
Figure = float | None


def yes_no(truth: Sequence[bool], said: Sequence[bool]) -> dict[str, Figure]:
    """All figures of yes-or-no answers.

    `balanced_accuracy` is the mean of the shares of true and of false items told right: a constant answer gets 0.5. `accuracy` is
    the share told right: where most items are false, always saying no does well (SAEBench's 10 of 14 is 0.714). `precision` is the share of
    yes-answers that are right, `recall` that of true items that got one, `f1` their harmonic mean, `iou` TP / (TP + FP + FN).
    Undefined are balanced accuracy without true or without false items, precision without a yes, recall, F1 and IoU without
    true items. (delphi counts a missing class, and precision without a yes, as 0.)
    """
    pairs = Counter((bool(t), bool(s)) for t, s in zip(truth, said, strict=True))
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


def balanced_accuracy(truth: Sequence[bool], said: Sequence[bool]) -> Figure:
    """See `yes_no`."""
    return yes_no(truth, said)["balanced_accuracy"]


def auroc(truth: Sequence[bool], values: ArrayLike) -> Figure:
    """Chance that a true item has a larger value than a false one, ties half. None unless there are both."""
    if not _both(truth):
        return None
    is_true = np.asarray(truth, dtype=bool)
    ranks = stats.rankdata(_finite(values))[is_true]
    return float((ranks.sum() - len(ranks) * (len(ranks) + 1) / 2) / (len(ranks) * (~is_true).sum()))


def separation(truth: Sequence[bool], values: ArrayLike) -> Figure:
    """2 AUROC - 1, signed: 1 where every true item has the larger value, -1 where every one has the smaller."""
    found = auroc(truth, values)
    return None if found is None else 2 * found - 1


def auprc(truth: Sequence[bool], values: ArrayLike) -> Figure:
    """Average precision: the mean over true items of the precision down to their rank, ties ranked alike. A guess is worth the share of true items. None unless there are both."""
    if not _both(truth):
        return None
    _, rank = np.unique(-_finite(values), return_inverse=True)
    hits = np.bincount(rank, np.asarray(truth, dtype=np.float64))
    return float(hits @ (np.cumsum(hits) / np.cumsum(np.bincount(rank))) / hits.sum())


def pearson(truth: ArrayLike, predicted: ArrayLike) -> Figure:
    """Pearson's correlation; 0 for a constant prediction, which says nothing, and None for a constant truth."""
    return _correlation("pearsonr", truth, predicted)


def spearman(truth: ArrayLike, predicted: ArrayLike) -> Figure:
    """Spearman's rank correlation, ties sharing their mean rank; 0 for a constant prediction and None for a constant truth.

    A constant prediction scores 0 in Towards Monosemanticity (2023), appendix on automated interpretability.
    """
    return _correlation("spearmanr", truth, predicted)


def cosine(truth: ArrayLike, predicted: ArrayLike) -> Figure:
    """Cosine of the angle between the two; 0 for a prediction of nothing but 0, None where the truth is nothing but 0."""
    a, b = _finite(truth), _finite(predicted)
    norms = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    if not norms[0]:
        return None
    return float(a @ b / norms[0] / norms[1]) if norms[1] else 0.0


def square_explained(truth: ArrayLike, predicted: ArrayLike) -> Figure:
    """1 - mean squared error / mean square of the truth: 0 for predicting 0 throughout. None where the truth is nothing but 0.

    neuron-explainer calls it R^2. It is not the usual coefficient of determination: the truth's mean is not taken off.
    """
    a, b = _finite(truth), _finite(predicted)
    return float(1 - np.mean((a - b) ** 2) / np.mean(a**2)) if a.any() else None


def deviation_explained(truth: ArrayLike, predicted: ArrayLike) -> Figure:
    """1 - mean absolute error / mean absolute truth: 0 for predicting 0 throughout. None where the truth is nothing but 0."""
    a, b = _finite(truth), _finite(predicted)
    return float(1 - np.mean(np.abs(a - b)) / np.mean(np.abs(a))) if a.any() else None


def _share(part: int, whole: int) -> Figure:
    return part / whole if whole else None


def _both(truth: Sequence[bool]) -> bool:
    return len(set(map(bool, truth))) == 2


def _finite(values: ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError("a value is not finite: leave out what was not answered before asking for a figure")
    return array


def _correlation(name: str, truth: ArrayLike, predicted: ArrayLike) -> Figure:
    a, b = _finite(truth), _finite(predicted)
    if len(a) < 2 or not _varies(a):
        return None
    if not _varies(b):
        return 0.0
    found = float(getattr(stats, name)(a, b).statistic)
    return found if math.isfinite(found) else None


def _varies(values: Floats) -> bool:
    """Whether they differ by more than rounding: below that scipy warns, and what it returns is noise."""
    return float(np.ptp(values)) > 1e-12 * float(np.abs(values).max())
