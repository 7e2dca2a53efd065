"""Changes of firing rates are called changes when they are, and seldom when documents merely differ."""

from __future__ import annotations

import numpy as np
import pytest

from autointerp.studies.search.rate_changes import rate_changes
from sae.studies.firing_rates import FiringSums

FEATURES = 200


def sums_of(rng: np.random.Generator, documents: int, mean: np.ndarray, share: np.ndarray) -> FiringSums:
    """Documents, of which a feature fires in a `share` alone, and there by very different rates of this mean."""
    lengths = rng.integers(50, 400, documents).astype(float)
    spread = (rng.random((documents, FEATURES)) < share) * rng.gamma(0.5, 2, (documents, FEATURES))
    counts = np.minimum(rng.poisson(spread * mean * lengths[:, None]), lengths[:, None])
    return FiringSums(
        counts.sum(axis=0), (counts**2).sum(axis=0), lengths @ counts, (counts > 0).sum(axis=0).astype(float),
        documents, int(lengths.sum()), float((lengths**2).sum()),
    )  # fmt: skip


@pytest.mark.parametrize(("known", "new"), [(100, 100), (200, 30), (30, 200)])
def test_a_null_calls_few_and_a_change_is_called(known: int, new: int) -> None:
    rng = np.random.default_rng(0)
    mean, share = 10 ** rng.uniform(-2, -1, FEATURES), np.full(FEATURES, 0.3)
    called = []
    for _ in range(15):
        sums = sums_of(rng, known, mean, share), sums_of(rng, new, mean, share)
        called.append(bool(rate_changes(*sums, fdr=0.05, confidence=0.95)["changed"].any()))
    assert np.mean(called) <= 0.2  # 0.05 on average; 3 of 15 by chance
    changed = np.arange(FEATURES) < 20
    sums = (
        sums_of(rng, known, mean, share),
        sums_of(rng, new, mean * np.where(changed, 3, 1), np.where(changed, 1.0, share)),
    )
    table = rate_changes(*sums, fdr=0.05, confidence=0.95)
    print(known, new, table["changed"][:20].mean())
    assert table["changed"][:20].mean() >= 0.5
    assert table["changed"][20:].mean() < 0.02
