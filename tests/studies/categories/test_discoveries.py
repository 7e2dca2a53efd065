"""Discoveries are false within their level, and found where features respond clearly."""

from __future__ import annotations

import numpy as np
import pytest
from simulations.category_worlds import Category, discoveries

from autointerp.studies.categories.discoveries import compared


@pytest.mark.parametrize("world", [Category(), Category(matched=True)])
def test_few_categories_without_a_true_feature_have_a_discovery(world: Category) -> None:
    assert discoveries(world, runs=200, seed=0).any_false <= 0.08


def test_true_features_are_found_with_few_false_ones() -> None:
    found = discoveries(Category(true=30), runs=50, seed=0)
    assert found.power >= 0.9
    assert found.false_share <= 0.06


def test_features_that_fire_in_too_few_texts_are_not_tested() -> None:
    probes, controls = np.zeros((12, 3)), np.zeros((12, 3))
    probes[:7, 0] = probes[:8, 1] = 1.0
    table = compared(probes, controls)
    assert table["feature"].tolist() == [1]
    assert table["mean_probe"].tolist() == pytest.approx([8 / 12])
