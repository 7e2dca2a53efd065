"""The shipped concept pairs: complete, varied, and of lengths that tell nothing of the side on which the concept is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import pytest

from autointerp.scorers.contrast.concept_pairs import concept_pairs, texts


def n_words(text: str) -> int:
    return len(re.findall(r"\w+", text))


def test_there_are_about_a_hundred_concepts_of_many_families() -> None:
    pairs = concept_pairs()
    assert 100 <= len(pairs) <= 150
    assert len({pair.concept for pair in pairs}) == len(pairs)
    families = Counter(pair.family for pair in pairs)
    assert set(families) == {
        *("entities", "syntax", "sentiment", "topics", "numbers", "code", "registers", "languages", "formatting"),
        "safety",
    }
    assert min(families.values()) >= 10


def test_every_side_has_short_texts_of_its_own() -> None:
    for pair in concept_pairs():
        assert len(pair.sides[0]) == len(pair.sides[1]) >= 2, pair.concept
        assert all(8 <= n_words(text) <= 25 for side in pair.sides for text in side), pair.concept
    assert len(set(texts())) == len(texts()) == 4 * len(concept_pairs())


def test_texts_at_the_same_place_are_about_equally_long() -> None:
    for pair in concept_pairs():
        for one, other in zip(*pair.sides, strict=True):
            assert abs(len(one) - len(other)) <= 0.2 * max(len(one), len(other)), (one, other)


@pytest.mark.parametrize("length", [len, n_words], ids=["characters", "words"])
def test_the_longer_text_of_a_pair_is_as_often_with_the_concept_as_without(length: Callable[[str], int]) -> None:
    differences = [length(a) - length(b) for pair in concept_pairs() for a, b in zip(*pair.sides, strict=True)]
    right = sum((d > 0) + 0.5 * (d == 0) for d in differences)
    assert abs(right / len(differences) - 0.5) <= 0.05


@pytest.mark.parametrize("length", [len, n_words], ids=["characters", "words"])
def test_no_threshold_of_length_tells_the_sides_apart(length: Callable[[str], int]) -> None:
    sides = [[length(text) for pair in concept_pairs() for text in pair.sides[side]] for side in (0, 1)]
    total = len(sides[0])
    for least in range(max(map(max, sides)) + 1):
        above = [sum(n >= least for n in side) / total for side in sides]
        assert abs(above[0] - above[1]) <= 0.1, least
