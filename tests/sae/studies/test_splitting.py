"""Features of a small dictionary, and what they become in a larger one."""

from __future__ import annotations

import numpy as np
import pytest
from support.sae import families

from sae.studies import matching
from sae.studies.splitting import NONE, covered, parents


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_tree_is_exact(seed: int) -> None:
    small, large, truth = families.split(seed)
    found = parents(large, small, 0.4)
    assert {parent: set(children) for parent, children in found.children().items()} == truth


def test_children_cover_their_parent_and_new_features_have_none() -> None:
    small, large, truth = families.split(3)
    found = parents(large, small, 0.4)
    assert (found.parent == NONE).sum() == large.dictionary.d_sae - sum(map(len, truth.values()))
    assert np.isnan(found.cosine[found.parent == NONE]).all()
    assert (found.inside[found.parent != NONE] > 0.5).all()
    for parent, children in truth.items():
        assert covered(small, parent, large, sorted(children)) > 0.8


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large, _ = families.split(4)
    whole = parents(large, small, 0.4)
    monkeypatch.setattr(matching, "ELEMENTS", 500)
    again = parents(large, small, 0.4)
    np.testing.assert_array_equal(whole.parent, again.parent)
    np.testing.assert_allclose(whole.cosine, again.cosine, atol=1e-6)
