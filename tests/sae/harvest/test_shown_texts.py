"""Texts of exemplars: the same stretch around two marks is one text, whichever documents it is in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sae.corpus.context_writer import CONTEXT
from sae.corpus.corpus import Corpus
from sae.harvest.shown_texts import CorpusText, ShownTexts

LENGTH = 60


def corpus_of(*documents: list[int]) -> Corpus:
    lengths = np.array([len(document) for document in documents])
    contexts = np.zeros(len(documents), dtype=CONTEXT)
    contexts["document"], contexts["length"] = np.arange(len(documents)), lengths
    contexts["offset"] = lengths.cumsum() - lengths
    tokens = np.array([token for document in documents for token in document], dtype=np.uint32)
    return Corpus(tokens, contexts, len(documents), len(tokens), "", None, frozenset())


def are_same(first: list[int], mark: int, second: list[int], other: int) -> bool:
    shown = ShownTexts(CorpusText(corpus_of(first, second)))
    assert shown.add(mark)
    return not shown.add(len(first) + other)


def with_stretch(seed: int, stretch: list[int], at: int) -> list[int]:
    """A document of its own, but for a stretch."""
    tokens = np.random.default_rng(seed).integers(1000, 1 << 30, LENGTH).tolist()
    return tokens[:at] + stretch + tokens[at + len(stretch) :]


@pytest.mark.parametrize("size", [9, 17, 25])
def test_a_common_stretch_around_both_marks_is_the_same_text(size: int) -> None:
    stretch = list(range(size))
    first, second = with_stretch(0, stretch, 5), with_stretch(1, stretch, 30)
    assert are_same(first, 5 + size // 2, second, 30 + size // 2)


def test_a_common_stretch_marked_at_two_places_is_the_same_text() -> None:
    stretch = list(range(25))
    assert are_same(with_stretch(0, stretch, 5), 5 + 10, with_stretch(1, stretch, 20), 20 + 14)


def test_one_changed_token_does_not_make_another_text() -> None:
    stretch = list(range(25))
    changed = [*stretch[:10], 99, *stretch[11:]]
    assert are_same(with_stretch(0, stretch, 5), 5 + 12, with_stretch(1, changed, 20), 20 + 12)


def test_a_common_phrase_is_not_the_same_text() -> None:
    phrase = list(range(6))
    assert not are_same(with_stretch(0, phrase, 5), 5 + 3, with_stretch(1, phrase, 20), 20 + 3)


def test_a_stretch_elsewhere_in_both_documents_is_not_the_same_text() -> None:
    stretch = list(range(25))
    assert not are_same(with_stretch(0, stretch, 0), 50, with_stretch(1, stretch, 0), 50)


def test_documents_shorter_than_a_run_are_compared_whole() -> None:
    between = list(range(10, 40))
    shown = ShownTexts(CorpusText(corpus_of([1, 2], between, [1, 2], [1, 3])))
    assert [shown.add(token) for token in (0, 33, 34)] == [True, False, True]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 5 * LENGTH - 1), min_size=1, max_size=20))
def test_an_added_text_is_not_new_again(tokens: list[int]) -> None:
    corpus = corpus_of(*(with_stretch(seed, [], 0) for seed in range(5)))
    shown = ShownTexts(CorpusText(corpus))
    for token in tokens:
        shown.add(token)
        assert not shown.add(token)
