"""The nearest of two dictionaries in each other equal those by brute force, whatever the blocks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from sae.studies import nearest_directions
from sae.studies.nearest_between import NONE, nearest_between
from sae.studies.nearest_directions import Directions

CPU = torch.device("cpu")


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(1, 25), m=st.integers(1, 25), width=st.integers(2, 9), block=st.integers(1, 30), seed=st.integers(0, 999)
)  # fmt: skip
def test_the_nearest_are_those_of_brute_force(n: int, m: int, width: int, block: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    decoders = [torch.randn(size, width, generator=generator) for size in (n, m)]
    decoders[0][0] = 0  # a feature that writes nothing has no nearest
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest_directions, "_BLOCK", block)
        one, other = nearest_between(*(Directions((rows,), CPU) for rows in decoders), lambda done, total: None)
    cosines = (normalize(decoders[0], dim=1) @ normalize(decoders[1], dim=1).T).numpy()
    for found, values, back in ((one, cosines, other), (other, cosines.T, one)):
        best = values.max(axis=1)
        known = best > 1e-6
        np.testing.assert_array_equal(found.nearest, np.where(known, values.argmax(axis=1), NONE))
        np.testing.assert_allclose(found.cosine, np.where(known, best, 0), atol=1e-5)
        expected = [bool(known[i]) and back.nearest[j] == i for i, j in enumerate(found.nearest)]
        np.testing.assert_array_equal(found.mutual, expected)
    assert one.nearest[0] == NONE


def test_progress_counts_the_blocks_of_the_first_dictionary() -> None:
    told: list[tuple[int, int]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest_directions, "_BLOCK", 4)
        directions = Directions((torch.eye(10),), CPU)
        nearest_between(directions, directions, lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]
