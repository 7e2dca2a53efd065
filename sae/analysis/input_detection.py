"""How well a unit's firing can be told from the words that the subject reads, without an LLM.

A linear rule is fitted to windows at whose last token the unit is active or silent, and tested on windows of other documents. It reads
the subject's input embeddings alone: of the last token, of the token before it, and their mean over the `BAG` last tokens, each centred
and of unit length. Similar words have similar embeddings, so the rule need not have seen a word to place it. It is kernel ridge
regression with `FOLDS`-fold cross-validation over documents.

The figure is the AUROC: the share of pairs of an active and a silent window in which the rule ranks the active one higher. The null:
the labels are permuted over the windows, `PERMUTATIONS` times.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import rankdata

from sae.subject.model import Subject

BAG = 16
"""Last tokens of a window whose embeddings are averaged."""
FOLDS = 8
PERMUTATIONS = 999
RIDGE = 0.1
"""Weight of the penalty; a window's kernel with itself is 1."""

Matrix = npt.NDArray[np.float64]


class InputDetection(NamedTuple):
    """The share of pairs of windows that the rule ranks right, and the p-value of a share as large under permuted labels."""

    told: float
    p: float


def detect(
    embedded: Matrix, active: npt.NDArray[np.bool_], documents: npt.NDArray[np.int64], seed: int
) -> InputDetection:
    """Tell active windows from silent ones by `embedded` (n, d), of rows of length 1. Both kinds are needed.

    Every document lies in one fold.
    """
    rng = np.random.default_rng([seed, 13])
    _, of_document = np.unique(documents, return_inverse=True)
    fold = rng.permutation(int(of_document.max()) + 1)[of_document] % FOLDS
    smoother = _held_out_smoother(embedded @ embedded.T, fold)
    labels = np.tile(active.astype(float), (PERMUTATIONS + 1, 1))
    labels[1:] = rng.permuted(labels[1:], axis=1)
    told = _auroc(labels @ smoother.T, labels)
    return InputDetection(float(told[0]), float(np.mean(told >= told[0] - 1e-12)))


def _held_out_smoother(kernel: Matrix, fold: npt.NDArray[np.int64]) -> Matrix:
    """The matrix (n, n) that maps labels to each window's prediction by a rule fitted on the other folds."""
    smoother = np.zeros_like(kernel)
    for number in np.unique(fold):
        test, train = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        if not len(train):
            continue
        # Labels are centred by the mean of the training windows, which the prediction gets back.
        centre = np.eye(len(train)) - 1 / len(train)
        fitted = np.linalg.solve(kernel[np.ix_(train, train)] + RIDGE * np.eye(len(train)), centre)
        smoother[np.ix_(test, train)] = kernel[np.ix_(test, train)] @ fitted + 1 / len(train)
    return smoother


def _auroc(scores: Matrix, labels: Matrix) -> npt.NDArray[np.float64]:
    """The AUROC of each row of scores (m, n) for labels (m, n) of 0 and 1. Equal scores count half."""
    n_active = labels.sum(axis=1)
    n_silent = labels.shape[1] - n_active
    ranks: Matrix = rankdata(np.round(scores, 12), axis=1)
    above: npt.NDArray[np.float64] = (ranks * labels).sum(axis=1) - n_active * (n_active + 1) / 2
    shares: npt.NDArray[np.float64] = above / (n_active * n_silent)
    return shares


@torch.no_grad()
def embed(subject: Subject, windows: Sequence[npt.NDArray[np.int64]]) -> Matrix:
    """Rows of length 1, (n, 3 * width), for windows of token ids, each with at least one token."""
    table = subject.model.get_input_embeddings().weight
    distinct, index = np.unique(np.concatenate(list(windows)).astype(np.int64), return_inverse=True)
    vectors = table[torch.as_tensor(distinct, device=table.device)].float().cpu().numpy().astype(np.float64)
    vectors -= vectors[index].mean(axis=0)
    parts = np.split(index, np.cumsum([len(window) for window in windows])[:-1])
    none = np.zeros(vectors.shape[1])
    rows = [
        (vectors[ids[-1]], vectors[ids[-2]] if len(ids) > 1 else none, vectors[ids[-BAG:]].mean(axis=0))
        for ids in parts
    ]
    stacked = np.array(rows)
    lengths = np.linalg.norm(stacked, axis=2, keepdims=True)
    unit: Matrix = (stacked / np.maximum(lengths, 1e-12)).reshape(len(rows), -1)
    whole: Matrix = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    return whole
