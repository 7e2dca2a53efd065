"""Telling a unit's firing from words: the share of pairs told is an AUROC, and its p-value is that of a permutation test."""

from __future__ import annotations

import numpy as np
import pytest

from sae.analysis.input_detection import _auroc, _held_out_smoother, detect


def points(rng: np.random.Generator, n: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """n points of length 1, half of them shifted along the first axis, and which."""
    active = np.arange(n) < n // 2
    x = rng.standard_normal((n, 12))
    x[active, 0] += shift
    return x / np.linalg.norm(x, axis=1, keepdims=True), active


def test_the_share_told_counts_pairs_and_ties_as_half() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 4, (3, 20)).astype(float), (rng.random((3, 20)) < 0.4).astype(float)
    pairs = [
        np.mean([(a > b) + (a == b) / 2 for a in row[chosen == 1] for b in row[chosen == 0]])
        for row, chosen in zip(scores, labels, strict=True)
    ]
    assert _auroc(scores, labels).tolist() == pytest.approx(pairs)


def test_no_window_is_placed_by_its_own_fold() -> None:
    rng = np.random.default_rng(1)
    x, active = points(rng, 24, 1)
    fold = rng.integers(0, 4, 24)
    smoother = _held_out_smoother(x @ x.T, fold)
    assert not smoother[fold[:, None] == fold[None]].any()
    # Against ridge regression of one fold, written out.
    train, test, y = fold != 2, fold == 2, active.astype(float)
    weights = np.linalg.solve(x[train].T @ x[train] + 0.1 * np.eye(12), x[train].T @ (y[train] - y[train].mean()))
    assert (smoother @ y)[test].tolist() == pytest.approx((x[test] @ weights + y[train].mean()).tolist())


def test_what_words_foretell_is_told_and_noise_is_not() -> None:
    """Of 100 units whose windows differ in nothing, 5% have a p-value of at most 0.05, to 4 standard deviations."""
    rng = np.random.default_rng(2)
    p = []
    for seed in range(100):
        x, active = points(rng, 40, 0)
        p.append(detect(x, active, np.arange(40), seed).p)
    assert abs(np.mean(np.array(p) <= 0.05) - 0.05) < 4 * (0.05 * 0.95 / 100) ** 0.5
    x, active = points(rng, 128, 3)
    told, p_value = detect(x, active, np.arange(128), 0)
    assert told > 0.85
    assert p_value == 0.001


def test_windows_of_one_document_are_never_learnt_from_one_another() -> None:
    """Two documents, each of one label: nothing can be told of either from the other."""
    x = np.repeat(np.eye(2), 20, axis=0)
    active = np.arange(40) < 20
    assert detect(x, active, np.repeat([0, 1], 20), 0).told <= 0.5
