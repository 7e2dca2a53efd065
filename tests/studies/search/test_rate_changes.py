"""Changes of firing rates are called changes when they are, and seldom when documents merely differ."""

from __future__ import annotations

import numpy as np
import pytest

from autointerp.studies.search.rate_changes import rate_changes
from sae.studies.firing_rates import FiringSums

FEATURES = 200


def sums_of(rng: np.random.Generator, documents: int, mean: np.ndarray) -> FiringSums:
    """Documents in which a feature fires rarely or not at all, and then often."""
    lengths = rng.integers(50, 400, documents).astype(float)
    spread = (rng.random((documents, FEATURES)) < 0.2) * 5 * rng.gamma(0.5, 2, (documents, FEATURES))
    counts = np.minimum(rng.poisson(spread * mean * lengths[:, None]), lengths[:, None])
    return FiringSums(
        counts.sum(axis=0), (counts**2).sum(axis=0), lengths @ counts, (counts > 0).sum(axis=0).astype(float),
        documents, int(lengths.sum()), float((lengths**2).sum()),
    )  # fmt: skip


@pytest.mark.parametrize(("known", "new"), [(100, 100), (200, 30), (30, 200)])
def test_a_null_calls_few_and_a_change_is_called(known: int, new: int) -> None:
    rng = np.random.default_rng(0)
    mean = 10 ** rng.uniform(-3, -1, FEATURES)
    called = [
        bool(
            rate_changes(sums_of(rng, known, mean), sums_of(rng, new, mean), fdr=0.05, confidence=0.95)["changed"].any()
        )
        for _ in range(15)
    ]
    assert np.mean(called) <= 0.2  # 0.05 on average; 3 of 15 by chance
    gone = mean * np.where(np.arange(FEATURES) < 20, 20, 1)
    table = rate_changes(sums_of(rng, known, mean), sums_of(rng, new, gone), fdr=0.05, confidence=0.95)
    assert table["changed"][:20].mean() > 0.2
    assert table["changed"][20:].mean() < 0.02
