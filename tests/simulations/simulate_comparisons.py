"""Simulation: comparisons of runs call at most 5% of pairs without a difference, and find the smallest difference that they announce."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from simulations.comparison_worlds import DESIGNS, LEVELS, Design, Outcomes, outcomes

PAIRS = 250


@pytest.fixture(scope="module")
def simulated() -> dict[tuple[str, Design], Outcomes]:
    """1,000 pairs of each design."""
    found = {}
    for number, level in enumerate(LEVELS):
        for design in DESIGNS:
            found[level, design] = outcomes(np.random.default_rng(number), level, design, PAIRS)
            print(
                f"{level:>22} {design:>10}: called {found[level, design].called:.3f}, found {found[level, design].found:.3f}"
            )
    return found


@pytest.mark.parametrize("design", DESIGNS)
def test_at_most_five_percent_of_pairs_without_a_difference_are_called(
    simulated: dict[tuple[str, Design], Outcomes], design: Design
) -> None:
    called = [simulated[level, design].called for level in LEVELS]
    assert np.mean(called) <= 0.05
    assert max(called) <= stats.binom.ppf(0.999, PAIRS, 0.05) / PAIRS


@pytest.mark.parametrize("design", DESIGNS)
def test_the_smallest_difference_announced_is_found_in_four_of_five_pairs(
    simulated: dict[tuple[str, Design], Outcomes], design: Design
) -> None:
    found = [simulated[level, design].found for level in LEVELS]
    assert np.mean(found) >= 0.8
    assert min(found) >= stats.binom.ppf(0.001, PAIRS, 0.8) / PAIRS
