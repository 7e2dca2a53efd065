"""Every event is counted in the bin that it is assigned to, and near the edges that a bin is said to have."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sae.harvest.bins import CELLS, bin_of, count_per_bin, edges


def histogram(activations: np.ndarray) -> np.ndarray:
    """The cells' counts as the sketch takes them, in float32."""
    scale = np.float32(2.0 ** np.ceil(np.log2(activations.max())))
    cell = np.ceil(activations * (np.float32(CELLS) / scale)).astype(int)
    return np.bincount(cell, minlength=CELLS + 1)[1:]


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 2**31),
    st.floats(2.0**-20, 2.0**20, width=32),
    st.integers(2, 50),
    st.sampled_from(["few", "bf16", "any"]),
)
def test_each_event_is_counted_in_the_bin_that_it_is_assigned_to(seed: int, top: float, bins: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    values = (rng.choice(rng.random(7), 500) if kind == "few" else rng.random(500)).astype(np.float32)
    if kind == "bf16":
        values = (values.view(np.uint32) & 0xFFFF0000).view(np.float32)
    values = values[values > 0] / values.max() * np.float32(top)
    counts = count_per_bin(histogram(values), values.max(), bins)
    assigned = bin_of(values, values.max(), bins)
    np.testing.assert_array_equal(counts, np.bincount(assigned, minlength=bins + 1)[1:])
    exact = values.astype(float) / values.max() * bins
    assert (np.abs(assigned - np.ceil(exact)) <= 1).all()
    early = assigned != np.ceil(exact)
    assert (exact[early] - np.floor(exact[early]) <= 2.1 * bins / CELLS).all()


@pytest.mark.parametrize("top", [1.0, 0.3, 5.0, 6.4, 1e-3, 777.0])
@pytest.mark.parametrize("bins", [2, 3, 7, 10, 20])
def test_activations_on_an_edge_belong_to_the_bin_below_it(top: float, bins: int) -> None:
    """However the last bit of float32 is rounded."""
    level = np.arange(1, bins + 1)
    for values in (
        (level / np.float32(bins)).astype(np.float32) * np.float32(top),
        (level * np.float32(top) / bins).astype(np.float32),
        level.astype(np.float32) * (np.float32(top) / np.float32(bins)),
    ):
        np.testing.assert_array_equal(bin_of(values, values[-1], bins), level)
        counts = count_per_bin(histogram(np.repeat(values, level)), values[-1], bins)
        np.testing.assert_array_equal(counts, level)


def test_silent_events_are_in_bin_0_and_a_dead_unit_has_no_bins() -> None:
    assert bin_of(0.0, 3.0, 10) == 0
    assert bin_of([0.0], [0.0], 10).tolist() == [0]
    assert count_per_bin(np.zeros(CELLS, dtype=int), 0.0, 10).tolist() == [0] * 10


def test_the_last_edge_is_the_maximum() -> None:
    for top in (1.0, 0.7, 3e-5, 1e5):
        assert bin_of(top, top, 10) == 10
    assert edges(np.array([1.0, 0.75]), 4).tolist() == [[0, 257, 513, 769, 1024], [0, 193, 385, 577, 768]]
