"""Simulation: `find --new` calls a change in at most 5% of pairs of corpora without one, at most 5% of its calls are false, and clear ones are found."""

from __future__ import annotations

import pytest
from simulations.firing_worlds import Calls, Corpora, calls

RUNS = 200
SIZES = [(100, 100), (300, 300), (300, 30), (30, 300)]


def printed(world: Corpora, found: Calls) -> Calls:
    print(
        f"\n{world}: any false {found.any_false:.3f}, false share {found.false_share:.3f}, power {found.power:.2f}, tested {found.tested:.2f}"
    )
    return found


@pytest.mark.parametrize("kind", [{}, {"shape": 0.1}, {"topical": True}, {"share": 0.05}])
@pytest.mark.parametrize(("known", "new"), SIZES)
def test_without_a_change_at_most_five_percent_have_a_call(known: int, new: int, kind: dict[str, float]) -> None:
    world = Corpora(known, new, **kind)  # type: ignore[arg-type]
    assert printed(world, calls(world, runs=RUNS, seed=1)).any_false <= 0.08


@pytest.mark.parametrize("kind", [{}, {"topical": True}])
@pytest.mark.parametrize(("known", "new"), SIZES)
def test_at_most_five_percent_of_calls_are_false(known: int, new: int, kind: dict[str, float]) -> None:
    world = Corpora(known, new, changed=20, **kind)  # type: ignore[arg-type]
    assert printed(world, calls(world, runs=RUNS, seed=2)).false_share <= 0.06


@pytest.mark.parametrize(
    ("world", "least"),
    [
        (Corpora(300, 300, changed=20), 0.5),
        (Corpora(1000, 100, changed=20), 0.5),
        (Corpora(1000, 1000, changed=20), 0.95),
        (Corpora(300, 300, changed=20, times=6.0), 0.95),
        (Corpora(100, 100, changed=20, share=1.0, shape=2.0), 0.95),
    ],
)
def test_clear_changes_are_found(world: Corpora, least: float) -> None:
    assert printed(world, calls(world, runs=50, seed=3)).power >= least
