"""Simulation: the interval of the completeness curve's midpoint covers in 93-97% of runs, with counted frequencies if the text is long."""

from __future__ import annotations

import pytest
from simulations.presence_worlds import Concepts, coverage, repeated


@pytest.mark.parametrize("slope", [1.0, 2.0, 4.0])
@pytest.mark.parametrize("n", [40, 60, 120, 240])
def test_the_interval_of_the_midpoint_covers(n: int, slope: float) -> None:
    found = coverage(Concepts(n, slope), runs=1500, seed=4)
    print(
        f"\n{n} concepts, slope {slope}: covers {found.share:.3f}, open {found.is_open:.3f}, bias {found.bias:+.3f} decades"
    )
    assert 0.93 <= found.share <= 0.97


@pytest.mark.parametrize("midpoint", [-7.5, -3.5])
def test_a_midpoint_at_the_end_of_the_frequencies_is_covered(midpoint: float) -> None:
    found = coverage(Concepts(120, 2.0, midpoint), runs=300, seed=5)
    print(f"\nmidpoint {midpoint}: covers {found.share:.3f}, open {found.is_open:.3f}, bias {found.bias:+.3f} decades")
    assert 0.93 <= found.share <= 0.98


@pytest.mark.parametrize("tokens", [1e6, 1e7, 1e9])
def test_counted_frequencies_cover_if_the_text_is_long(tokens: float) -> None:
    found = coverage(Concepts(120, 2.0, tokens=tokens), runs=300, seed=6)
    print(f"\n{tokens:g} tokens of text: covers {found.share:.3f}, bias {found.bias:+.3f} decades")
    assert 0.92 <= found.share <= 0.98


def test_several_dictionaries_over_the_same_concepts_cover() -> None:
    found = repeated(n=100, dictionaries=3, spread=0.7, runs=300, seed=7)
    print(f"\nthree dictionaries: covers {found.grouped:.3f}; {found.independent:.3f} if rows were independent")
    assert 0.92 <= found.grouped <= 0.98
