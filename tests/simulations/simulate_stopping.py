"""Simulation: intervals of units and of the run's difference cover the truth after adaptive stopping."""

from __future__ import annotations

import numpy as np
import pytest
from simulations import adaptive, worlds

from autointerp.spec.sections import Adaptive

PAIRS = {
    "demo": (worlds.FEATURES, worlds.NEURONS),
    "lenient": (worlds.LENIENT, worlds.NOISY),
}


def unit_cover(
    kinds: tuple[worlds.World, worlds.World], target: float, *, units: int, bins: int, runs: int
) -> tuple[dict[str, float], float]:
    """The share of units of each kind whose interval contains their true mean after stopping, and the exemplars used per bin."""
    rng, hits, used = np.random.default_rng(bins), [], []
    for _ in range(runs):
        found = adaptive.run(rng, *kinds, Adaptive(unit=target), units=units, bins=bins, at_most=24)
        table = found.units
        hits.append(
            ((table["ci_low"] <= table["truth"]) & (table["truth"] <= table["ci_high"])).groupby(table["kind"]).mean()
        )
        used.append(found.items_per_cell)
    return {kind: float(np.mean([h[kind] for h in hits])) for kind in ("feature", "neuron")}, float(np.mean(used))


def run_cover(
    kinds: tuple[worlds.World, worlds.World], targets: Adaptive, *, units: int, bins: int, runs: int
) -> tuple[float, float]:
    """The share of runs whose BCa interval of the difference contains the truth after stopping, and the exemplars used per bin."""
    truth = worlds.true_mean(kinds[0], bins) - worlds.true_mean(kinds[1], bins)
    rng, hits, used = np.random.default_rng(units), 0, []
    for _ in range(runs):
        found = adaptive.run(rng, *kinds, targets, units=units, bins=bins, at_most=8)
        assert found.difference.ci_low is not None
        hits += found.difference.ci_low <= truth <= found.difference.ci_high
        used.append(found.items_per_cell)
    return hits / runs, float(np.mean(used))


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("bins", [4, 9])
@pytest.mark.parametrize("target", [0.25, 0.45])
def test_intervals_of_units_cover_after_stopping(name: str, bins: int, target: float) -> None:
    found, used = unit_cover(PAIRS[name], target, units=200, bins=bins, runs=10)
    print(f"\nunits of {name}, {bins} bins, to ±{target}: {found}; {used:.1f} exemplars a bin")
    assert all(0.93 <= share <= 0.97 for share in found.values())


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize(
    "targets", [Adaptive(run=0.4), Adaptive(unit=0.3), Adaptive(bin=0.45)], ids=["run", "unit", "bin"]
)
def test_the_difference_covers_after_stopping(name: str, targets: Adaptive) -> None:
    share, used = run_cover(PAIRS[name], targets, units=40, bins=5, runs=1000)
    print(
        f"\nthe difference of {name}, {targets.model_dump(exclude_none=True)}: {share:.3f}; {used:.1f} exemplars a bin"
    )
    assert 0.93 <= share <= 0.97
