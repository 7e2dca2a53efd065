"""Chooses contexts of a split to read again: some that contain units' words, and some at random."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from sae.corpus.corpus import Corpus
from sae.harvest.token_positions import split_of
from sae.harvest.units import UnitKey

MAX_CONTEXTS = 4096
"""Contexts of a split, drawn by the seed, among which those to read are chosen."""
_EXPLAIN_ROLES = ("explain_top", "explain_spread", "explain_quiet")


def contexts_of_split(corpus: Corpus, split: int, seed: int) -> npt.NDArray[np.int64]:
    """Up to `MAX_CONTEXTS` contexts of a split, `EXPLAIN` or `JUDGE`, in random order."""
    document = torch.from_numpy(corpus.document_keys(slice(None)))
    rows = np.flatnonzero(split_of(document, seed).numpy() == split)
    return np.random.default_rng([seed, 11]).permutation(rows)[:MAX_CONTEXTS]


def context_of(corpus: Corpus, exemplars: pd.DataFrame) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The number of the context that each exemplar lies in, and the index of its marked token in it."""
    contexts = corpus.contexts
    # (document, position) as one number, to look up the context that each exemplar lies in.
    order = np.lexsort((contexts["position"], contexts["document"]))
    starts = contexts["document"][order] * (1 << 32) + contexts["position"][order]
    position = exemplars["position"].to_numpy(np.int64)
    row = order[
        np.searchsorted(starts, exemplars["document"].to_numpy(np.int64) * (1 << 32) + position, side="right") - 1
    ]
    return row, position - contexts["position"][row]


def shown_to_explainer(exemplars: pd.DataFrame) -> pd.DataFrame:
    """The exemplars that explainers are shown."""
    return exemplars.loc[exemplars["role"].isin(_EXPLAIN_ROLES)]


def words_of(
    corpus: Corpus, units: Sequence[UnitKey], exemplars: pd.DataFrame
) -> tuple[list[npt.NDArray[np.uint32]], list[set[int]]]:
    """For each unit, its words and the documents of its windows, from the windows that its explainer is shown.

    A unit's words are the token ids that are marked in its active windows, by descending sum of their activations.
    """
    shown = shown_to_explainer(exemplars)
    row, mark = context_of(corpus, shown)
    ids = np.asarray(corpus.tokens[corpus.contexts["offset"][row] + mark])
    by_unit = shown.assign(_id=ids).groupby("unit_id")
    words, documents = [], []
    for unit in units:
        own = by_unit.get_group(unit.unit_id) if unit.unit_id in by_unit.groups else shown.iloc[:0].assign(_id=[])
        strength = own.loc[own["role"] != "explain_quiet"].groupby("_id")["activation"].sum()
        words.append(strength.sort_values(ascending=False, kind="stable").index.to_numpy(np.uint32))
        documents.append({int(d) for d in own["document"]})
    return words, documents


def contexts_with_words(
    corpus: Corpus, rows: npt.NDArray[np.int64], words: Sequence[npt.NDArray[np.uint32]], budget: int, turns: int
) -> list[int]:
    """Choose contexts among `rows` that contain the units' words, of at most `budget` tokens together.

    In each turn every unit gets one more context, for its next word; a context serves all units whose words it contains.
    """
    all_words = np.unique(np.concatenate([*words, np.zeros(0, np.uint32)]))
    rows_with: dict[int, list[int]] = defaultdict(list)
    for row in rows.tolist():
        offset, length = int(corpus.contexts["offset"][row]), int(corpus.contexts["length"][row])
        for token in np.intersect1d(corpus.tokens[offset : offset + length], all_words).tolist():
            rows_with[token].append(row)
    chosen: dict[int, None] = {}
    n_taken: dict[tuple[int, int], int] = defaultdict(int)
    for turn in range(turns):
        for unit, unit_words in enumerate(words):
            if not len(unit_words):
                continue
            word = int(unit_words[turn % len(unit_words)])
            next_ = n_taken[unit, word]
            if next_ >= len(rows_with[word]):
                continue
            n_taken[unit, word] += 1
            row = rows_with[word][next_]
            length = int(corpus.contexts["length"][row])
            if row not in chosen and length <= budget:
                chosen[row] = None
                budget -= length
    return list(chosen)


def first_contexts(corpus: Corpus, rows: npt.NDArray[np.int64], known: set[int], budget: int) -> Iterator[int]:
    """The first of `rows`, of at most `budget` tokens together, without those in `known`."""
    for row in rows.tolist():
        budget -= int(corpus.contexts["length"][row])
        if budget < 0:
            return
        if row not in known:
            yield row
