"""Planted worlds: units respond to what their right explanations cover, and wrong explanations are wrong in their own way."""

from __future__ import annotations

import numpy as np
import pytest

from autointerp.league import world as worlds
from autointerp.league.claims import CLASSES, Claim, of_classes
from autointerp.league.samples import BINS, KINDS, PER_BIN, RIGHT, SILENT, Evidence, Samples
from autointerp.league.vocabulary import BETWEEN, CONDITIONS, THEMES
from autointerp.league.world import WORDS, World


@pytest.fixture(scope="module")
def world() -> World:
    return worlds.make(0)


@pytest.fixture(scope="module")
def evidence(world: World) -> list[Evidence]:
    samples = Samples(world)
    return [samples.of(unit) for unit in samples.evaluated]


def covered(claim: Claim, evidence: Evidence) -> float:
    """The share of the unit's active places that a claim covers."""
    return float(np.mean([claim.covers([t.strip() for t in e.tokens])[e.mark] for e in evidence.case.active]))


def test_no_word_has_two_meanings() -> None:
    words = [word for classes in THEMES.values() for text in classes.values() for word in text.split()]
    words += [word for text in CONDITIONS.values() for word in text.split()] + list(BETWEEN)
    assert len(words) == len(set(words))


def test_a_condition_limits_a_claim_to_words_directly_after_it() -> None:
    claim = of_classes(["dogs"], "a number")
    assert claim.covers(["two", "dogs", "two", "dog", "red", "dog", "dog"]) == [
        False,
        False,
        False,
        True,
        False,
        False,
        False,
    ]
    assert claim.text == "words for dogs directly after a number"


def test_units_are_active_where_their_right_explanation_says_and_seldom_elsewhere(world: World) -> None:
    """Interference of other features makes weak activations elsewhere, so that no bin but the lowest ones is impure."""
    text = [[WORDS[i] for i in row] for row in world.words[:300]]
    for unit, activations in zip(world.units, world.activations[:, :300], strict=True):
        claimed = np.array([unit.claim.covers(row) for row in text])
        assert (activations[claimed] > 0).mean() > 0.7, unit
        assert (activations[~claimed] > 0).mean() < 0.02, unit
        strong = activations > 0.5 * activations.max()
        assert claimed[strong].mean() > 0.9 if strong.any() else True, unit


def test_a_theme_is_silent_on_the_class_that_a_unit_took_from_it(world: World) -> None:
    for unit, activations in zip(world.units, world.activations, strict=True):
        if unit.type == "theme":
            lost = np.isin(world.words, [WORDS.index(word) for word in CLASSES[unit.other]])
            assert (activations[lost] > 0).mean() < 0.2, unit


def test_a_text_is_read_as_in_the_corpus(world: World) -> None:
    assert np.allclose(world.respond(world.words[7]), world.activations[:, 7])


def test_windows_are_sampled_as_in_a_run(evidence: list[Evidence]) -> None:
    for one in evidence:
        bins = [e.bin for e in one.case.active]
        assert max(map(bins.count, bins)) == PER_BIN
        assert len(set(bins)) >= BINS - 3
        assert all(e.token_activations[e.mark] == e.activation > 0 for e in one.case.active)
        assert len(one.case.silent) == SILENT
        assert not any(any(e.token_activations) for e in one.case.silent)
        assert all(e.activation == 0 for e in one.case.neighbours)
        assert len(one.case.neighbours) >= 5


def test_wrong_explanations_are_wrong_in_the_way_of_their_kind(world: World, evidence: list[Evidence]) -> None:
    seen = set()
    for one in evidence:
        claims, right = one.explanations, covered(one.explanations[RIGHT], one)
        seen |= set(claims)
        assert right > 0.5
        assert covered(claims["broad"], one) >= right
        assert covered(claims["narrow"], one) < right
        for kind in {"sibling", "twin", "random"} & set(claims):
            assert covered(claims[kind], one) < 0.25, (kind, claims[kind].text)
        for kind in {"general", "absorbed"} & set(claims):
            assert claims[kind].words >= claims[RIGHT].words
            assert covered(claims[kind], one) >= right
    assert seen == {RIGHT, *KINDS}
