"""Near-duplicates: documents that share much of their text are one cluster, and no others are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sae.corpus import near_duplicates as module
from sae.corpus.context_writer import CONTEXT
from sae.corpus.near_duplicates import near_duplicates


def clusters(documents: list[np.ndarray], context: int = 128) -> list[int]:
    """The cluster of each document, after cutting all into contexts."""
    rows, offset = [], 0
    for number, ids in enumerate(documents):
        for start in range(0, len(ids), context):
            length = min(context, len(ids) - start)
            rows.append((number, start, offset + start, length))
        offset += len(ids)
    tokens = np.concatenate(documents).astype(np.uint32)
    return near_duplicates(tokens, np.array(rows, dtype=CONTEXT)).tolist()


def text(rng: np.random.Generator, length: int) -> np.ndarray:
    return rng.zipf(1.1, length) % 5_000


def changed(ids: np.ndarray, rng: np.random.Generator, changes: int) -> np.ndarray:
    """The text with some tokens replaced, one inserted near its start and the last ones missing."""
    copy = ids.copy()
    copy[rng.choice(len(copy), changes, replace=False)] = 5_000 + rng.integers(100, size=changes)
    return np.insert(copy, 3, 7)[:-2]


@pytest.mark.parametrize(("length", "changes"), [(60, 4), (400, 20), (1500, 75)])
@pytest.mark.parametrize("copies", [2, 4, 8])
def test_copies_with_changes_are_one_cluster_and_other_documents_are_not(
    length: int, changes: int, copies: int
) -> None:
    rng = np.random.default_rng(length + copies)
    originals = [text(rng, length) for _ in range(40)]
    documents = originals + [changed(ids, rng, changes) for _ in range(copies - 1) for ids in originals]
    found = np.array(clusters(documents)).reshape(copies, 40)
    assert (found == found[0]).mean() > 0.97
    assert len(np.unique(found[0])) == 40


def test_documents_with_a_common_beginning_are_not_near_duplicates() -> None:
    rng = np.random.default_rng(0)
    prompt = text(rng, 300)
    documents = [np.concatenate([prompt, text(rng, 60)]) for _ in range(50)]
    documents += [documents[3].copy(), changed(documents[4], rng, 3)]
    assert clusters(documents) == [*range(50), 3, 4]


def test_a_quotation_does_not_make_a_near_duplicate() -> None:
    rng = np.random.default_rng(0)
    long = [text(rng, 2000) for _ in range(20)]
    assert clusters([*long, *(np.concatenate([ids[100:160], text(rng, 200)]) for ids in long)]) == list(range(40))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(0, 2**32), st.lists(st.integers(1, 300), min_size=1, max_size=12), st.integers(64, 2000))
def test_neither_blocks_nor_contexts_change_the_clusters(seed: int, lengths: list[int], block: int) -> None:
    rng = np.random.default_rng(seed)
    documents = [text(rng, n) for n in lengths] + [text(rng, 100)] * 2
    with pytest.MonkeyPatch.context() as patch:
        whole = clusters(documents)
        patch.setattr(module, "_BLOCK", block)
        assert clusters(documents, context=50) == whole
    assert whole[-1] == whole[-2]


def test_similarity_is_estimated_without_bias() -> None:
    rng = np.random.default_rng(1)
    estimates = []
    for _ in range(200):
        common, own, other = (rng.integers(1 << 31, size=n) for n in (300, 150, 150))
        sketches = np.stack(
            [np.sort(np.concatenate([common, part]))[: module.KEPT].astype(np.uint32) for part in (own, other)]
        )
        estimates.append(module._similarity(sketches, np.array([[0, 1]]))[0])
    assert np.mean(estimates) == pytest.approx(0.5, abs=0.02)
