"""Simulates a run that is judged round by round, by the program's own rule, until its targets are met."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from simulations import document_worlds, worlds

from autointerp.spec.sections import Adaptive
from autointerp.stats import comparison, stopping


class Stopped(NamedTuple):
    """The state of a run when it stopped."""

    units: pd.DataFrame
    """Each unit's interval and true mean."""
    difference: comparison.Comparison
    items_per_cell: float
    """Mean number of exemplars used per unit and bin."""


def run(
    rng: np.random.Generator,
    features: worlds.World,
    neurons: worlds.World,
    targets: Adaptive,
    *,
    units: int,
    bins: int,
    at_most: int,
    confidence: float = 0.95,
    documents: document_worlds.Documents = document_worlds.OWN,
) -> Stopped:
    """Judge `units` units of each kind until `stopping.needed` needs no more or the exemplars are used up."""
    kinds = (("feature", features), ("neuron", neurons))
    drawn = {kind: document_worlds.draw(rng, world, units, bins, at_most, documents) for kind, world in kinds}
    pool = pd.concat([worlds.table(kind, grades, of) for kind, (grades, _, of) in drawn.items()], ignore_index=True)
    known = worlds.units_of(pool)
    place = {unit_id: i for i, unit_id in enumerate(known["unit_id"])}
    given = np.zeros((len(place), bins), dtype=np.int64)
    item = pool["item"].to_numpy().reshape(len(place), bins, at_most)
    look, need = 0, stopping.needed(pool, known, targets, bins=bins, confidence=confidence, look=0)
    while not need.done and look < at_most:
        for unit_id, found in need.cells.items():
            given[place[unit_id], np.array(found) - 1] += targets.per_round
        look += 1
        rows = pool.loc[(item < given[..., None]).ravel()]
        need = stopping.needed(rows, known, targets, bins=bins, confidence=confidence, look=look)
    intervals = stopping.unit_intervals(stopping.cell_table(rows, known), confidence)
    truth = {f"{kind}-{i}": t for kind, (_, means, _) in drawn.items() for i, t in enumerate(means.mean(axis=1))}
    intervals["truth"], intervals["kind"] = intervals.index.map(truth), intervals.index.str.split("-").str[0]
    means = [intervals.loc[intervals["kind"] == kind, "mean"] for kind in ("feature", "neuron")]
    compared = comparison.compare(*means, confidence=confidence, scale=(0, 3))
    return Stopped(intervals, compared, len(rows) / (2 * units * bins))
