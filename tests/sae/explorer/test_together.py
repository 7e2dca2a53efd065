"""Co-activation and correlation against dense matrices of all sampled tokens."""

from __future__ import annotations

import numpy as np
import pytest

from sae.explorer.together import FEWEST, Active, correlated, together

S, F, M = 400, 12, 9


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    rng = np.random.default_rng(0)
    found = rng.random((S, F)) * (rng.random((S, F)) < np.linspace(0.6, 0.02, F))
    found[:, 3] = found[:, 2] * (rng.random(S) < 0.8)
    found[:, 5] = 0
    found[:, 6] = 0
    found[:3, 6] = 1
    return found.astype(np.float32)


def events(features: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    row, feature = features.nonzero()
    return row * 10 + 7, feature, features[row, feature]


def test_features_active_together_are_ranked_by_what_chance_does_not_explain(features: np.ndarray) -> None:
    active = Active.of(*events(features), F)
    on = features > 0
    tokens = on.any(axis=1).sum()
    for first, end in ((0, F), (2, 5)):
        found = together(active, first, end, 4)
        for i in range(first, end):
            numbers = found.number[i - first][found.number[i - first] >= 0].tolist()
            if on[:, i].sum() < FEWEST:
                assert numbers == []
                continue
            share = (on & on[:, i : i + 1]).sum(axis=0) / on[:, i].sum()
            excess = share - on.sum(axis=0) / tokens
            excess[i] = -1
            true = [j for j in np.lexsort([np.arange(F), -excess]).tolist() if excess[j] > 1e-9][:4]
            assert numbers == true
            assert np.allclose(found.value[i - first][: len(true)], share[true])
    assert together(active, 2, 3, 1).number.tolist() == [[3]]


def test_correlations_are_those_of_the_sampled_tokens(features: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    neurons = rng.normal(size=(S, M)).astype(np.float16)
    neurons[:, 4] = (features[:, 0] * -3 + 0.1 * neurons[:, 4]).astype(np.float16)
    neurons[:, 8] = 1
    half = np.arange(0, S, 2)
    found = correlated(*events(features), half * 10 + 7, neurons[half], F, 3)
    assert found.number[0, 0] == 4
    assert found.value[0, 0] < -0.9
    for i in range(F):
        f = features[half, i]
        if (f > 0).sum() < FEWEST:
            assert (found.number[i] == -1).all()
            continue
        r = np.array([np.corrcoef(f, neurons[half, m].astype(float))[0, 1] if m != 8 else 0.0 for m in range(M)])
        best = np.argsort(-np.abs(r), kind="stable")[:3]
        assert found.number[i].tolist() == best.tolist()
        assert np.allclose(found.value[i], r[best], atol=1e-3)


def test_without_sampled_neurons_there_are_no_correlations(features: np.ndarray) -> None:
    found = correlated(*events(features), np.zeros(0, dtype=np.int64), np.zeros((0, M), dtype=np.float16), F, 3)
    assert (found.number == -1).all()


def test_correlations_of_values_that_hardly_vary_and_of_huge_ones_are_those_of_exact_arithmetic() -> None:
    rng = np.random.default_rng(2)
    n = 60_000
    neurons = rng.normal(size=(n, 4)).astype(np.float16)
    neurons[:, 0] = 0.1  # the same at all tokens
    neurons[:, 1] = (neurons[:, 1] * 0.01 + 100).astype(np.float16)
    neurons[7, 2] = np.inf  # a massive activation, beyond the largest number in float16
    feature = (1000 + neurons[:, 3].astype(np.float32)).astype(np.float32)
    token = np.arange(n)
    found = correlated(token, np.zeros(n, dtype=np.int64), feature, token, neurons, 1, 4)
    exact = np.minimum(neurons.astype(np.float64), np.finfo(np.float16).max)
    r = [0.0, *(np.corrcoef(feature.astype(np.float64), exact[:, i])[0, 1] for i in (1, 2, 3))]
    assert found.number[0, 0] == 3
    assert np.allclose(found.value[0][np.argsort(found.number[0])], r, atol=2e-3)
