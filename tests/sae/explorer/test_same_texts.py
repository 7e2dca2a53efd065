"""Texts that read alike are found as one by one, and examples are chosen greedily in their order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sae.corpus.context_writer import CONTEXT
from sae.corpus.corpus import Corpus
from sae.explorer.same_texts import alike, first_unlike, places
from sae.harvest.shown_texts import SAME, CorpusText


def corpus_of(contexts: list[list[int]]) -> Corpus:
    lengths = np.array([len(context) for context in contexts])
    rows = np.zeros(len(contexts), dtype=CONTEXT)
    rows["document"], rows["offset"], rows["length"] = np.arange(len(contexts)), np.cumsum(lengths) - lengths, lengths
    tokens = np.array([i for context in contexts for i in context], dtype=np.uint32)
    return Corpus(tokens, rows, len(contexts), len(tokens), "test", None, frozenset())


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=40), min_size=1, max_size=6), st.data())
def test_alike_texts_share_runs_of_tokens_around_their_marks(contexts: list[list[int]], data: st.DataObject) -> None:
    corpus = corpus_of(contexts)
    events = data.draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(0, corpus.n_tokens - 1)), min_size=0, max_size=20)
    )
    unit, token = (np.array([e[i] for e in events], dtype=np.int64) for i in (0, 1))
    runs = [CorpusText(corpus).runs_around(int(t)) for t in token]
    true = [
        [i, j]
        for j in range(len(events))
        for i in range(j)
        if unit[i] == unit[j] and len(runs[i] & runs[j]) >= SAME * min(len(runs[i]), len(runs[j]))
    ]
    assert alike(corpus, token, unit).tolist() == true


@given(st.data())
def test_examples_are_chosen_greedily(data: st.DataObject) -> None:
    quota = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    events = sorted(
        data.draw(st.lists(st.tuples(st.integers(0, 2), st.integers(0, len(quota) - 1)), min_size=0, max_size=14))
    )
    group, level = (np.array([e[i] for e in events], dtype=np.int64) for i in (0, 1))
    possible = [(i, j) for j in range(len(events)) for i in range(j) if group[i] == group[j]]
    pairs = sorted(data.draw(st.sets(st.sampled_from(possible))) if possible else set(), key=lambda p: (p[1], p[0]))
    chosen = first_unlike(np.array(pairs, dtype=np.int64).reshape(-1, 2), group, level, np.array(quota))
    shown: list[int] = []
    for j in range(len(events)):
        of_level = sum(group[i] == group[j] and level[i] == level[j] for i in shown)
        if of_level < quota[level[j]] and not any((i, j) in pairs for i in shown):
            shown.append(j)
    assert np.flatnonzero(chosen).tolist() == shown


@pytest.mark.parametrize(
    ("columns", "expected"), [([[]], []), ([[3, 3, 5, 3]], [0, 1, 0, 0]), ([[1, 1, 1], [2, 2, 3]], [0, 1, 0])]
)
def test_places_count_from_0_among_neighbouring_equals(columns: list[list[int]], expected: list[int]) -> None:
    assert places(*(np.array(column, dtype=np.int64) for column in columns)).tolist() == expected
