"""Simulation: of the features that `categories` calls found, at most 5% are false on average, and those that respond clearly are found."""

from __future__ import annotations

import pytest
from simulations.category_worlds import Category, discoveries

RUNS = 400


@pytest.mark.parametrize(
    "world",
    [
        Category(shared=0.0),
        Category(shared=0.5),
        Category(shared=0.9),
        Category(matched=True),
        Category(texts=30),
        Category(texts=40),
        Category(features=2000, shared=0.5),
    ],
)
def test_without_a_true_one_a_category_has_a_discovery_in_at_most_five_percent(world: Category) -> None:
    found = discoveries(world, runs=RUNS if world.features < 1000 else 100, seed=1)
    print(f"\n{world}: any {found.any_false:.3f}")
    assert found.any_false <= (0.065 if world.features < 1000 else 0.09)


@pytest.mark.parametrize(
    ("world", "least"),
    [
        (Category(true=30), 0.9),
        (Category(true=3), 0.6),
        (Category(true=30, shift=2.0), 0.5),
        (Category(true=30, shift=2.0, matched=True), 0.5),
        (Category(true=30, shift=1.5, texts=30), 0.9),
    ],
)
def test_false_ones_are_at_most_five_percent_and_true_ones_are_found(world: Category, least: float) -> None:
    found = discoveries(world, runs=RUNS, seed=3)
    print(f"\n{world}: false {found.false_share:.3f}, power {found.power:.2f}")
    assert found.false_share <= 0.055
    assert found.power >= least
