"""Changes of firing rates are called changes when they are, and seldom when documents merely differ."""

from __future__ import annotations

import pytest
from simulations.firing_worlds import Corpora, calls


@pytest.mark.parametrize(
    "world", [Corpora(100, 100), Corpora(200, 30), Corpora(30, 200), Corpora(100, 100, topical=True)]
)
def test_few_pairs_of_like_corpora_have_a_call(world: Corpora) -> None:
    assert calls(world, runs=30, seed=0).any_false <= 0.2  # 0.05 on average; 6 of 30 by chance


def test_a_threefold_rate_is_called() -> None:
    found = calls(Corpora(300, 300, changed=20), runs=10, seed=0)
    assert found.power >= 0.5
    assert found.false_share <= 0.08
