"""Simulation: the interval of one unit covers its true mean however its items lie in documents, before and after adaptive stopping."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from simulations import adaptive, document_worlds, worlds
from simulations.document_worlds import Documents

from autointerp.spec.sections import Adaptive
from autointerp.stats import stopping

KINDS = {"feature": worlds.FEATURES, "neuron": worlds.NEURONS}
PLACES = {
    "own": Documents(1000, 0.0),
    "eight": Documents(8, 0.0),
    "three": Documents(3, 0.0),
    "three-by-bin": Documents(3, 0.0, per_bin=True),
    "bursty": Documents(8, 0.0, bursty=True),
    "bursty-by-bin": Documents(8, 0.0, bursty=True, per_bin=True),
    "many-bursty": Documents(40, 0.0, bursty=True),
}
"""How the items of a unit lie in documents; the correlation within them is another parameter."""


def cover(
    documents: Documents, *, units: int, runs: int, bins: int = 5, items: int = 5, known: bool = True
) -> dict[str, float]:
    """The share of units of each kind whose 95% interval contains their true mean, documents being `known` or not."""
    rng, tables, known_units = np.random.default_rng(units), [], []
    for kind, world in KINDS.items():
        grades, means, of = document_worlds.draw(rng, world, units * runs, bins, items, documents)
        tables.append(worlds.table(kind, grades, of if known else None))
        ids = [f"{kind}-{i}" for i in range(units * runs)]
        # Units of different runs are of different kinds, so that they have nothing in common.
        kinds = [f"{kind}/{i // units}" for i in range(units * runs)]
        known_units.append(pd.DataFrame({"unit_id": ids, "kind": kinds, "truth": means.mean(axis=1)}))
    table = pd.concat(known_units, ignore_index=True)
    cells = stopping.cell_table(pd.concat(tables, ignore_index=True), table)
    found = stopping.unit_intervals(cells, 0.95).join(table.set_index("unit_id"))
    return {
        str(kind): float(share)
        for kind, share in contains(found.assign(kind=found["kind"].str.split("/").str[0])).items()
    }


def contains(intervals: pd.DataFrame) -> pd.Series:
    """By kind, the share of intervals that contain the truth."""
    inside = (intervals["ci_low"] <= intervals["truth"]) & (intervals["truth"] <= intervals["ci_high"])
    return inside.groupby(intervals["kind"]).mean()


def stopped_cover(documents: Documents, target: float, *, units: int, runs: int) -> tuple[dict[str, float], float]:
    """As `cover`, after adaptive stopping at a half-width, with the exemplars used per bin."""
    rng, hits, used = np.random.default_rng(units), [], []
    for _ in range(runs):
        found = adaptive.run(
            rng,
            *KINDS.values(),
            Adaptive(unit=target),
            units=units,
            bins=5,
            at_most=12,
            documents=documents,
        )
        hits.append(contains(found.units))
        used.append(found.items_per_cell)
    return {kind: float(np.mean([h[kind] for h in hits])) for kind in KINDS}, float(np.mean(used))


@pytest.mark.parametrize("units", [8, 12, 20, 50])
@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("place", PLACES)
def test_intervals_of_units_cover(place: str, correlation: float, units: int) -> None:
    documents = PLACES[place]._replace(correlation=correlation)
    found = cover(documents, units=units, runs=1600 // units)
    before = cover(documents, units=units, runs=400 // units, known=False)
    print(f"\n{place}, {correlation}, {units} units: {found}; without documents {before}")
    assert all(0.925 <= share <= 0.98 for share in found.values())


@pytest.mark.parametrize("target", [0.3, 0.45])
@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("place", PLACES)
def test_intervals_of_units_cover_after_stopping(place: str, correlation: float, target: float) -> None:
    documents = PLACES[place]._replace(correlation=correlation)
    found, used = stopped_cover(documents, target, units=100, runs=6)
    print(f"\n{place}, {correlation}, to ±{target}: {found}; {used:.1f} exemplars a bin")
    assert all(0.92 <= share <= 0.98 for share in found.values())
