"""Features of dictionaries of several seeds, matched by direction and by firing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import mannwhitneyu
from support.sae import families

from sae.studies import matching
from sae.studies.matching import chance_cosine, match, stability


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_stability_tells_shared_features_from_those_of_one_seed(seed: int) -> None:
    (one, true), *others = families.seeds(4, seed)
    found, score = stability([match(one, other)[0] for other, _ in others], 0.7)
    assert auroc(found, true) >= 0.95
    assert auroc(score, true) >= 0.95
    assert (found[true] >= 2).mean() > 0.9
    assert (found[~true] == 0).all()


def test_both_sides_agree_on_their_twins() -> None:
    (one, _), (other, _) = families.seeds(2, 5)
    here, there = match(one, other)
    twins = np.flatnonzero(here.twins(0.7))
    assert len(twins) > 50
    assert there.twins(0.7)[here.nearest[twins]].all()
    assert (there.nearest[here.nearest[twins]] == twins).all()
    assert here.by_firing[twins].mean() > 0.95


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    (one, _), (other, _) = families.seeds(2, 6)
    whole = match(one, other)
    monkeypatch.setattr(matching, "ELEMENTS", 700)
    for before, after in zip(whole, match(one, other), strict=True):
        np.testing.assert_array_equal(before.nearest, after.nearest)
        np.testing.assert_allclose(before.cosine, after.cosine, atol=1e-6)
        np.testing.assert_allclose(before.jaccard, after.jaccard)
        np.testing.assert_array_equal(before.by_firing, after.by_firing)


def test_twins_by_direction_that_fire_at_other_tokens_are_not_found_again() -> None:
    rng = np.random.default_rng(0)
    one, other = families.Growing(rng), families.Growing(rng)
    row = families.direction(rng)
    one.add(row, np.arange(100))
    other.add(row, np.arange(200, 300))
    here, _ = match(one.side()[0], other.side()[0])
    assert here.mutual.all()
    assert here.cosine[0] == pytest.approx(1)
    assert not here.twins(0.7).any()


def test_rare_features_are_matched_by_direction_alone() -> None:
    rng = np.random.default_rng(0)
    one, other = families.Growing(rng), families.Growing(rng)
    row = families.direction(rng)
    one.add(row, np.arange(3))
    other.add(row, np.arange(100))
    here, _ = match(one.side()[0], other.side()[0])
    assert np.isnan(here.jaccard).all()
    assert here.twins(0.7).all()
    assert here.similarity[0] == pytest.approx(1)


def test_chance_lies_between_random_and_shared_directions() -> None:
    (one, _), (other, _) = families.seeds(2, 3)
    assert 0.2 < chance_cosine(one.dictionary, other.dictionary, 0) < 0.6


def auroc(values: np.ndarray, true: np.ndarray) -> float:
    return float(mannwhitneyu(values[true], values[~true]).statistic / (true.sum() * (~true).sum()))
