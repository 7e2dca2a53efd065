"""The layout of a graph in the plane: the interpolated push is the sum over all pairs, and groups of neighbours stay together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sae.explorer import plane

GROUPS, EACH, K = 6, 20, 5


@given(seed=st.integers(0, 1000), n=st.integers(50, 200), spread=st.floats(0.01, 10))
def test_the_push_is_the_sum_over_all_pairs(seed: int, n: int, spread: float) -> None:
    at = (spread * np.random.default_rng(seed).normal(size=(n, 2))).astype(np.float32)
    across = (at[:, None] - at[None]).astype(np.float64)
    kernel = 1 / (1 + (across**2).sum(axis=2))
    np.fill_diagonal(kernel, 0)
    direct = ((kernel**2)[:, :, None] * across).sum(axis=1) / kernel.sum()
    assert np.abs(plane._apart(at) - direct).max() <= 0.2 * np.abs(direct).max()


def neighbours_in_groups(seed: int) -> np.ndarray:
    """K neighbours of each point, all of its own group."""
    generator = np.random.default_rng(seed)
    group = np.arange(GROUPS * EACH) // EACH
    return np.array(
        [
            generator.choice(np.flatnonzero((group == group[i]) & (np.arange(len(group)) != i)), K, replace=False)
            for i in range(len(group))
        ]
    )


def test_groups_of_neighbours_are_together_and_apart_from_the_others() -> None:
    told: list[tuple[int, int]] = []
    at = plane.layout(neighbours_in_groups(0), 0, lambda done, total: told.append((done, total)))
    group = np.arange(GROUPS * EACH) // EACH
    distance = ((at[:, None] - at[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distance, np.inf)
    assert (group[distance.argmin(axis=1)] == group).mean() > 0.95
    assert told[-1] == (plane.EARLY + plane.LATE,) * 2
    assert np.array_equal(at, plane.layout(neighbours_in_groups(0), 0))


@pytest.mark.parametrize("known", [0, 1])
def test_points_with_few_neighbours_or_none_have_places(known: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plane, "EARLY", 40)
    monkeypatch.setattr(plane, "LATE", 20)
    neighbours = np.full((10, 3), -1)
    neighbours[:5, :known] = 9
    at = plane.layout(neighbours, 0)
    assert np.isfinite(at).all()
    assert len(np.unique(at.round(6), axis=0)) == 10
