"""The regression follows its prior without data, and the data with enough of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from autointerp.explorer.propagation import pair_model
from autointerp.explorer.propagation.pair_model import Prior

PRIOR = Prior(mean=(-2.0, 1.0, 0.5), precision=(1.0, 4.0, 4.0))


def test_without_pairs_the_weights_are_those_known_beforehand() -> None:
    weights = pair_model.fit(np.zeros((0, 2)), np.zeros(0, dtype=bool), PRIOR)
    assert weights == pytest.approx(PRIOR.mean)


def test_many_pairs_outweigh_what_was_known_beforehand() -> None:
    rng = np.random.default_rng(0)
    scores, true = rng.normal(size=(20_000, 2)), np.array([0.5, -1.0, 2.0])
    right = rng.random(len(scores)) < pair_model.probability(pair_model.log_odds(scores, true))
    assert pair_model.fit(scores, right, PRIOR) == pytest.approx(true, abs=0.1)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-8, 8), st.booleans()), min_size=1, max_size=30),
    st.floats(-5, 5),
)
def test_the_posterior_is_largest_at_the_weights(pairs: list[tuple[float, bool]], shift: float) -> None:
    scores = np.array([[score, -score * shift] for score, _ in pairs])
    right = np.array([answer for _, answer in pairs])
    weights = pair_model.fit(scores, right, PRIOR)
    design = np.column_stack([np.ones(len(scores)), scores])
    slope = design.T @ (pair_model.probability(design @ weights) - right)
    slope += np.array(PRIOR.precision) * (weights - np.array(PRIOR.mean))
    assert np.abs(slope).max() < 1e-2


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=2, max_size=40), st.floats(-5, 5))
def test_where_better_evidence_is_right_probability_grows_with_it(values: list[float], cut: float) -> None:
    scores = np.array(values)[:, None]
    right = scores[:, 0] > cut
    assume(right.any() and not right.all())
    weights = pair_model.fit(scores, right, Prior((0.0, 1.0), (0.01, 1.0)))
    ordered = pair_model.probability(pair_model.log_odds(np.sort(scores, axis=0), weights))
    assert np.all(np.diff(ordered) >= 0)
    assert np.all((ordered > 0) & (ordered < 1))
