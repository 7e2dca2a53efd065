"""Metrics of answers: their definitions, undefined cases and scikit-learn's values; and the registry of scorers."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.sae import peers

from autointerp.errors import UsageError
from autointerp.scorers.registry import SCORERS, scorer
from autointerp.stats import answer_metrics

BITS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40)
RANKED = st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=30)
PAIRS = st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10)), min_size=2, max_size=30)


@given(BITS)
def test_yes_no_metrics_match_their_definitions(pairs: list[tuple[bool, bool]]) -> None:
    truth, said = map(list, zip(*pairs, strict=True))
    found = answer_metrics.yes_no(truth, said)
    true, yes, both = ({i for i, p in enumerate(pairs) if test(p)} for test in (lambda p: p[0], lambda p: p[1], all))
    assert found["recall"] == (len(both) / len(true) if true else None)
    assert found["precision"] == (len(both) / len(yes) if yes else None)
    assert found["iou"] == (len(both) / len(true | yes) if true else None)
    assert (found["balanced_accuracy"] is None) == (len(set(truth)) == 1)
    if both:
        assert found["f1"] == pytest.approx(2 / (len(true) / len(both) + len(yes) / len(both)))


@given(RANKED)
def test_ranking_metrics_match_their_definitions(pairs: list[tuple[bool, int]]) -> None:
    truth, values = map(list, zip(*pairs, strict=True))
    true, false = ([v for t, v in pairs if t is side] for side in (True, False))
    if not (true and false):
        assert answer_metrics.auroc(truth, values) is answer_metrics.auprc(truth, values) is None
        return
    wins = sum((a > b) + 0.5 * (a == b) for a in true for b in false)
    assert answer_metrics.auroc(truth, values) == pytest.approx(wins / len(true) / len(false))
    assert answer_metrics.separation(truth, values) == pytest.approx(2 * wins / len(true) / len(false) - 1)
    precisions = [sum(a >= cut for a in true) / sum(v >= cut for v in values) for cut in true]
    assert answer_metrics.auprc(truth, values) == pytest.approx(sum(precisions) / len(true))


@given(PAIRS)
def test_correlations_match_their_definitions(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = np.array(pairs, dtype=float).T
    assume(np.ptp(truth) > 0 and np.ptp(predicted) > 0)
    assert answer_metrics.pearson(truth, predicted) == pytest.approx(np.corrcoef(truth, predicted)[0, 1])
    ranks = [[(values < v).sum() + ((values == v).sum() - 1) / 2 for v in values] for values in (truth, predicted)]
    assert answer_metrics.spearman(truth, predicted) == pytest.approx(np.corrcoef(*ranks)[0, 1])
    assert answer_metrics.cosine(truth, predicted) == pytest.approx(
        sum(truth * predicted) / math.sqrt(sum(truth**2) * sum(predicted**2))
    )


def test_constant_predictions_score_0_and_constant_truths_are_undefined() -> None:
    named = (
        answer_metrics.pearson,
        answer_metrics.spearman,
        answer_metrics.cosine,
        answer_metrics.square_explained,
        answer_metrics.deviation_explained,
    )
    for figure in named:
        assert figure([0, 1, 2], [0, 0, 0]) == 0
        assert figure([0, 0, 0], [0, 1, 2]) is None
        assert figure([], []) is None
    assert answer_metrics.pearson([0.1 + 0.2, 0.3, 0.3], [1, 2, 3]) is None, "a difference of rounding is none"


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        answer_metrics.pearson([1, math.nan], [1, 2])


def test_metrics_equal_those_of_scikit_learn(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows = []
    for n in (4, 14, 55, 300):
        for _ in range(10):
            truth = rng.permutation([True, False, *(rng.random(n - 2) < rng.uniform(0.05, 0.95))]).tolist()
            rows.append([truth, (rng.random(n) < 0.5).tolist(), rng.integers(0, n, n).tolist()])
    (tmp_path / "given.json").write_text(json.dumps(rows))
    theirs = json.loads(peers.run("scikit_learn", peers.PINS / "score_scikit_learn.py", tmp_path / "given.json"))
    for (truth, said, values), their in zip(rows, theirs, strict=True):
        ours = answer_metrics.yes_no(truth, said) | {
            "auroc": answer_metrics.auroc(truth, values),
            "auprc": answer_metrics.auprc(truth, values),
        }
        assert {k: v or 0.0 for k, v in ours.items()} == pytest.approx(their)


def test_every_scorer_has_a_source_and_described_metrics() -> None:
    for name, found in SCORERS.items():
        assert scorer(name) is found
        assert found.source
        assert found.figures
        assert all(found.figures.values())
        assert set(found.steps) <= {"ask", "run"}


def test_an_unknown_scorer_is_refused_with_the_known_names() -> None:
    with pytest.raises(UsageError, match="unknown scorer 'detect': use some of detection, fuzzing"):
        scorer("detect")
