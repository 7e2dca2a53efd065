"""Simulation: sums weighted by 1 / inclusion probability are unbiased, whatever a unit's documents and activations are like."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from simulations import sampled_worlds
from simulations.sampled_worlds import BINS, WORLDS, World


class Totals(NamedTuple):
    """Of each of several totals over a unit's events its true value, the mean of its estimates over seeds and their standard error."""

    truth: pd.Series
    mean: pd.Series
    error: pd.Series

    @property
    def z(self) -> pd.Series:
        return (self.mean - self.truth) / self.error


def totals(world: World, *, seeds: int, units: int, per_bin: int = 5) -> Totals:
    """The number of events and the sum of a value that depends on the document, of all events, of each bin, and of the two largest
    documents, by Horvitz and Thompson. The seed decides the split, which units share: the standard error is over seeds."""
    drawn = sampled_worlds.sample(world, seeds=range(seeds), units=units, per_bin=per_bin)
    events = pd.DataFrame({"bin": world.bin, "document": world.document, "value": value(world)})
    events = events.loc[events["bin"] > 0]
    largest = list(events["document"].value_counts().index[:2])
    drawn = drawn.join(events[["document", "value"]], on="token")

    def sums(table: pd.DataFrame, weight: pd.Series) -> dict[str, float]:
        parts = {"all": weight > 0}
        parts |= {f"bin {b}": table["bin"] == b for b in sorted(set(events["bin"]))}
        parts |= {f"document {d}": table["document"] == d for d in largest}
        return {
            f"{what} of {name}": float((weight * by)[rows].sum())
            for name, rows in parts.items()
            for what, by in (("number", 1.0), ("value", table["value"]))
        }

    truth = sums(events, pd.Series(1.0, events.index))
    empty = drawn.iloc[:0]
    groups = dict(list(drawn.groupby("seed")))
    found = [groups.get(seed, empty) for seed in range(seeds)]
    estimates = pd.DataFrame([sums(table, 1 / (table["p"] * units)) for table in found])
    return Totals(pd.Series(truth), estimates.mean(), estimates.std() / np.sqrt(seeds))


def value(world: World) -> np.ndarray:
    """A grade that depends on the document and on the activation, and is 0 in the document of most events."""
    most = np.bincount(world.document, world.activation > 0).argmax()
    of_document = np.random.default_rng(5).integers(0, 3, world.document.max() + 1)
    of_document[most] = 0
    return np.asarray(of_document[world.document] + world.activation / world.activation.max())


@pytest.mark.parametrize("name", WORLDS)
def test_horvitz_thompson_sums_are_unbiased(name: str) -> None:
    found = totals(WORLDS[name](np.random.default_rng(1)), seeds=300, units=2)
    print(f"\n{name}:")
    for total, z in found.z.items():
        print(f"  {total}: {found.mean[total]:.2f}, truly {found.truth[total]:.2f}, z {z:+.1f}")
    assert (found.z.abs() < 4).all()
    # By earlier probabilities, conditional on the split, the number of events of the rare unit's top bins was half of the truth.
    assert abs(found.mean["number of all"] / found.truth["number of all"] - 1) < 0.1


def documents_to_judge(world: World, seed: int) -> dict[int, int]:
    """By bin, the number of documents with events on the judged side of the split."""
    events = pd.DataFrame({"bin": world.bin, "document": world.document})[sampled_worlds.split(world, seed) == 1]
    return events.groupby("bin")["document"].nunique().to_dict()


@pytest.mark.parametrize("name", WORLDS)
def test_a_bin_is_judged_in_documents_of_its_own_if_it_has_enough(name: str) -> None:
    world = WORLDS[name](np.random.default_rng(2))
    drawn = sampled_worlds.sample(world, seeds=range(40), units=3)
    drawn["document"] = world.document[drawn["token"]]
    of_bin = drawn.groupby(["seed", "unit", "bin"])["document"].agg(["size", "nunique"])
    repeated = of_bin["size"] > of_bin["nunique"]
    print(f"\n{name}: {repeated.mean():.2f} of bins have a document twice, {BINS} bins")
    if name == "tied":  # in the others the sketch keeps events of few documents of some bins
        has_enough = [documents_to_judge(world, seed)[bin_] > 5 for seed, _, bin_ in repeated.index]
        assert not repeated[has_enough].any()
    ordered = drawn.sort_values(["seed", "unit", "first"])
    same = ordered.groupby(["seed", "unit"])
    assert not (same["first"].shift(-1) < ordered["first"] + ordered["length"]).any()
