"""Absorbers of features whose concept holds while they are silent."""

from __future__ import annotations

import numpy as np
import pytest
from support.sae import families

from sae.studies.absorption import Witness, absorbers


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_absorbers_are_found_and_others_are_not(seed: int) -> None:
    world = families.absorbed(seed)
    found = {
        (parent, each.absorber)
        for parent, twin in world.parents
        for each in absorbers(world.side, parent, Witness(world.other.firings, (twin,)))
    }
    hits = len(found & world.truth)
    assert hits / len(world.truth) >= 0.9
    assert hits / len(found) >= 0.9


def test_figures_of_one_absorber() -> None:
    rng = np.random.default_rng(0)
    here, there = families.Growing(rng), families.Growing(rng)
    row, own = families.direction(rng), families.direction(rng)
    concept = np.arange(100)
    parent = here.add(row, concept[20:])
    absorber = here.add(row + own, np.arange(24))  # 20 in place of the parent, 4 beside it
    there.add(row, concept)
    side, place = here.side()
    (found,) = absorbers(side, int(place[parent]), Witness(there.side()[0].firings, (0,)))
    assert (found.feature, found.absorber) == (place[parent], place[absorber])
    assert (found.n_holds, found.n_missed, found.n_absorbed) == (100, 20, 20)
    assert found.inside == pytest.approx(20 / 24)
    assert found.cosine == pytest.approx(float((row @ (row + own)) / np.linalg.norm(row + own)))
    assert 0.3 < found.carried < 1.5
    assert set(found.examples) <= set(range(20))


def test_several_witnesses_count_where_any_of_them_fires() -> None:
    rng = np.random.default_rng(0)
    here, there = families.Growing(rng), families.Growing(rng)
    row = families.direction(rng)
    here.add(row, np.arange(40))
    here.add(row, np.arange(40, 50))
    children = [there.add(row, part) for part in (np.arange(20), np.arange(15, 50))]
    side, place = here.side()
    other, numbers = there.side()
    witness = Witness(other.firings, tuple(int(numbers[child]) for child in children))
    (found,) = absorbers(side, int(place[0]), witness)
    assert (found.n_holds, found.n_missed, found.n_absorbed) == (50, 10, 10)
    assert list(absorbers(side, int(place[1]), witness)) == []  # silent at four fifths: narrower, not absorbed
