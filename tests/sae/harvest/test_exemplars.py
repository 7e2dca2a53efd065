"""Judged exemplars of whole sketches: what they stand for, and what they share."""

from __future__ import annotations

import numpy as np
import pytest
from simulations import sampled_worlds, simulate_sampling
from simulations.sampled_worlds import WORLDS


@pytest.mark.parametrize("name", ["rare", "two-long"])
def test_sums_weighted_by_inverse_probability_are_unbiased(name: str) -> None:
    """A small version of `simulations/simulate_sampling.py`: over splits and priorities, of all events, bins and large documents."""
    found = simulate_sampling.totals(WORLDS[name](np.random.default_rng(1)), seeds=40, units=1)
    assert (found.z.abs() < 4).all(), found.z.round(1).to_dict()
    assert found.mean["number of all"] == pytest.approx(found.truth["number of all"], rel=0.3)


def test_a_bin_of_one_event_is_judged_in_half_of_the_splits_and_says_so() -> None:
    world = WORLDS["rare"](np.random.default_rng(1))
    [token] = np.flatnonzero(world.bin == 5)
    drawn = sampled_worlds.sample(world, seeds=range(60), units=1)
    judged = drawn.loc[drawn["token"] == token]
    assert 0.3 < len(judged) / 60 < 0.7
    assert judged["p"].mean() == pytest.approx(len(judged) / 60, abs=0.2)
    assert (judged["p"] <= 0.5).all()


def test_judged_windows_share_no_token_and_no_document_of_a_bin_with_many() -> None:
    world = WORLDS["bursty"](np.random.default_rng(2))
    drawn = sampled_worlds.sample(world, seeds=range(10), units=2)
    drawn["document"] = world.document[drawn["token"]]
    many = drawn.loc[drawn["bin"] == 1]
    assert not many.duplicated(["seed", "unit", "document"]).any()
    ordered = drawn.sort_values(["seed", "unit", "first"])
    following = ordered.groupby(["seed", "unit"])["first"].shift(-1)
    assert not (following < ordered["first"] + ordered["length"]).any()
