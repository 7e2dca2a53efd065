"""Simulation: frequency-weighted means are unbiased for units whose events lie in few documents."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from simulations import sampled_worlds
from simulations.sampled_worlds import BINS, WORLDS
from support.results.tables import judgement, judgement_table

from autointerp.stats import comparison, frequency


class Bias(NamedTuple):
    """Mean error over seeds, its standard error, and the standard deviation of a unit's estimate."""

    mean: float
    error: float
    spread: float

    @property
    def z(self) -> float:
        return self.mean / self.error


def bias(name: str, *, seeds: int, units: int) -> dict[str, Bias]:
    """The error of the mean over events of a unit by three ways: `plain`, judged exemplars of a bin weighted equally; `unit`, by
    inverse probability; and `estimate`, corrected for the split, beside 20 units with other grades.

    A document has one grade, 0 in the two documents with most events.
    """
    world = WORLDS[name](np.random.default_rng(1))
    drawn = sampled_worlds.sample(world, seeds=range(seeds), units=units)
    events = np.bincount(world.document, world.activation > 0)
    of_document = np.random.default_rng(3).integers(1, 4, len(events))
    of_document[np.argsort(events)[-2:]] = 0
    grade = of_document[world.document]
    truth = grade[world.activation > 0].mean()
    found: dict[str, list[list[float]]] = {"plain": [], "unit": [], "estimate": []}
    for seed in range(seeds):
        tables = _tables(world, drawn.loc[drawn["seed"] == seed], grade, seed)
        mine = [f"feature-{u}" for u in range(units)]
        found["plain"].append(comparison.unit_scores(*tables[:2]).loc[mine, "mean_score_frequency"].to_list())
        found["unit"].append(frequency.unit_means(*tables)[mine].to_list())
        found["estimate"].append(frequency.estimates(*tables)[mine].to_list())
    result = {}
    for way, values in found.items():
        errors = np.array(values) - truth
        of_seed = np.nanmean(errors, axis=1)
        result[way] = Bias(float(of_seed.mean()), float(of_seed.std(ddof=1) / np.sqrt(seeds)), float(np.nanstd(errors)))
    return result


def _tables(
    world: sampled_worlds.World, drawn: pd.DataFrame, grade: np.ndarray, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Judgements, units and exemplars: those drawn, and 20 units with grades around 1.5 in every bin."""
    rows, exemplars = [], []
    for unit, bin_, token, p in zip(drawn["unit"], drawn["bin"], drawn["token"], drawn["p"], strict=True):
        rows.append(judgement(f"feature-{unit}", int(bin_), int(grade[token]), item=int(token)))
        exemplars.append((rows[-1]["exemplar_id"], p))
    rng = np.random.default_rng(seed)
    rows += [judgement(f"feature-{99 + u}", b, int(rng.integers(0, 4))) for u in range(20) for b in range(1, BINS + 1)]
    ids = [*sorted({f"feature-{u}" for u in drawn["unit"]}), *(f"feature-{99 + u}" for u in range(20))]
    total = np.bincount(world.bin, minlength=BINS + 1)[1:]
    side = _judging(world, seed)
    judging = np.bincount(world.bin[side], minlength=BINS + 1)[1:]
    units = pd.DataFrame({"unit_id": ids, "kind": "feature", "bin_events": [total.tolist()] * len(ids)})
    units["judging_bin_events"] = [judging.tolist()] * len(ids)
    return judgement_table(rows), units, pd.DataFrame(exemplars, columns=["exemplar_id", "inclusion_probability"])


def _judging(world: sampled_worlds.World, seed: int) -> np.ndarray:
    return np.asarray(sampled_worlds.split(world, seed) == 1)


@pytest.mark.parametrize("name", WORLDS)
def test_estimates_of_frequency_weighted_means_are_unbiased(name: str) -> None:
    found = bias(name, seeds=300, units=3)
    for way, b in found.items():
        print(f"\n{name}, {way}: bias {b.mean:+.3f} (z {b.z:+.1f}), a unit's standard deviation {b.spread:.2f}")
    assert abs(found["estimate"].z) < 4
