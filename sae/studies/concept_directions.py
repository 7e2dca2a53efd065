"""Directions of a concept that two sets of texts define: the difference of their means, and a linear probe's.

*Scaling Monosemanticity* ("Comparison with few-shot probes") steers with the mean residual over positive examples minus that over
negative ones, at the last token. The probe is a logistic regression with a ridge penalty. All its inputs are divided by one number and
not each by its own, so that its weights stay a direction of the space that is steered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from sae.analysis.unit_probe import encode_texts, most_tokens
from sae.errors import SubjectError
from sae.harvest.uncounted import MAX_NORM_RATIO
from sae.subject.model import Subject

RIDGE = 1.0
"""Penalty on the squared length of a probe's weights, for values whose deviations have a mean square of 1 per dimension."""
FOLDS = 5


@dataclass(frozen=True)
class ConceptDirections:
    """Unit vectors (width,) by hook point, and the probe's accuracy on texts that it was not fitted to; None if there are too few."""

    difference: Mapping[str, Tensor]
    probe: Mapping[str, Tensor]
    accuracy: Mapping[str, float | None]


def concept_directions(
    subject: Subject, hook_points: Sequence[str], positive: Sequence[str], negative: Sequence[str]
) -> ConceptDirections:
    """The directions from `negative` to `positive` texts. Raises `SubjectError` for an empty set or text, or sets that do not differ."""
    if not positive or not negative:
        raise SubjectError("a set of texts is empty: give at least one positive and one negative text, one a line")
    x = last_values(subject, hook_points, [*positive, *negative])
    is_positive = np.arange(len(positive) + len(negative)) < len(positive)
    difference, probe, accuracy = {}, {}, {}
    for hook_point, values in x.items():
        difference[hook_point] = _unit(values[is_positive].mean(axis=0) - values[~is_positive].mean(axis=0))
        probe[hook_point] = _unit(fit_probe(values, is_positive)[0])
        accuracy[hook_point] = held_out_accuracy(values, is_positive)
    return ConceptDirections(difference, probe, accuracy)


def last_values(subject: Subject, hook_points: Sequence[str], texts: Sequence[str]) -> dict[str, np.ndarray]:
    """Values (texts, width) at the last token of each text. Raises `SubjectError` for an empty text, and for one whose last token has a
    massive norm: it does not count."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in hook_points}
    norms: dict[str, list[Tensor]] = {name: [] for name in hook_points}
    room, first = most_tokens(subject), int(subject.bos_id is not None)
    for text, ids in zip(texts, encode_texts(subject, texts), strict=True):
        if not ids:
            raise SubjectError(f"text {text!r} is empty: remove it")
        row = ([] if subject.bos_id is None else [subject.bos_id]) + ids[-room:]
        values = subject.run(torch.tensor([row]), list(hook_points))
        for name in hook_points:
            found[name].append(values[name][0, -1].double().cpu().numpy())
            norms[name].append(values[name][0, first:].norm(dim=1))
    for of_texts in norms.values():
        limit = MAX_NORM_RATIO * float(torch.cat(of_texts).median())
        if massive := [text for text, of_text in zip(texts, of_texts, strict=True) if of_text[-1] > limit]:
            raise SubjectError(
                f"text {massive[0][:40]!r} ends in a token of massive norm, which does not count: put other words at its end"
            )
    return {name: np.stack(rows) for name, rows in found.items()}


def fit_probe(x: np.ndarray, is_positive: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights (width,) and intercept of a ridge logistic regression on values x (n, width), in the units of x."""
    mean = x.mean(axis=0)
    scale = float(np.sqrt(((x - mean) ** 2).mean())) or 1.0
    z, sign = (x - mean) / scale, np.where(is_positive, 1.0, -1.0)

    def objective(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        weights, intercept = parameters[:-1], parameters[-1]
        margin = sign * (z @ weights + intercept)
        slope = -sign / (1 + np.exp(np.clip(margin, -500, 500)))
        value = float(np.logaddexp(0, -margin).sum() + RIDGE / 2 * weights @ weights)
        return value, np.append(z.T @ slope + RIDGE * weights, slope.sum())

    best = minimize(objective, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B").x
    weights = best[:-1] / scale
    return weights, float(best[-1] - mean @ weights)


def held_out_accuracy(x: np.ndarray, is_positive: np.ndarray) -> float | None:
    """Balanced accuracy of probes on the folds that they were not fitted to; None with fewer than `FOLDS` texts in a set."""
    if min(is_positive.sum(), (~is_positive).sum()) < FOLDS:
        return None
    fold = np.empty(len(x), dtype=np.int64)
    for side in (is_positive, ~is_positive):
        fold[side] = np.arange(side.sum()) % FOLDS
    right = np.empty(len(x), dtype=bool)
    for number in range(FOLDS):
        held = fold == number
        weights, intercept = fit_probe(x[~held], is_positive[~held])
        right[held] = (x[held] @ weights + intercept > 0) == is_positive[held]
    return float((right[is_positive].mean() + right[~is_positive].mean()) / 2)


def _unit(vector: np.ndarray) -> Tensor:
    length = float(np.linalg.norm(vector))
    if length < 1e-9:
        raise SubjectError("the positive and the negative texts do not differ for this subject: give other texts")
    return torch.tensor(vector / length, dtype=torch.float32)
