"""Which contexts are worth reading once more: those of the explaining side that hold chosen units' words, and some at random."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from sae.corpus.corpus import Corpus
from sae.harvest.token_positions import EXPLAIN, sides
from sae.harvest.units import UnitKey

MOST_CONTEXTS = 4096
"""Contexts of the explaining side, drawn by the seed, among which those to read are chosen."""
_EXPLAINING = ("explain_top", "explain_spread", "explain_quiet")


def explaining(corpus: Corpus, seed: int) -> npt.NDArray[np.int64]:
    """Contexts of the explaining side, in a seeded order."""
    document = torch.from_numpy(corpus.contexts["document"].astype(np.int64))
    explaining = np.flatnonzero(sides(document, seed).numpy() == EXPLAIN)
    return np.random.default_rng([seed, 11]).permutation(explaining)[:MOST_CONTEXTS]


def words_of(
    corpus: Corpus, units: Sequence[UnitKey], exemplars: pd.DataFrame
) -> tuple[list[npt.NDArray[np.uint32]], list[set[int]]]:
    """The marked tokens of each unit's windows that an explainer is shown, those of most activation first, and the documents of all of those."""
    shown = exemplars.loc[exemplars["role"].isin(_EXPLAINING)]
    contexts = corpus.contexts
    order = np.lexsort((contexts["position"], contexts["document"]))
    starts = contexts["document"][order] * (1 << 32) + contexts["position"][order]
    wanted = shown["document"].to_numpy(np.int64) * (1 << 32) + shown["position"].to_numpy(np.int64)
    place = order[np.searchsorted(starts, wanted, side="right") - 1]
    token = contexts["offset"][place] + shown["position"].to_numpy(np.int64) - contexts["position"][place]
    ids = np.asarray(corpus.tokens[token])
    by_unit = shown.assign(_id=ids).groupby("unit_id")
    words, documents = [], []
    for unit in units:
        mine = by_unit.get_group(unit.unit_id) if unit.unit_id in by_unit.groups else shown.iloc[:0].assign(_id=[])
        marked = mine.loc[mine["role"] != "explain_quiet"].groupby("_id")["activation"].sum()
        words.append(marked.sort_values(ascending=False, kind="stable").index.to_numpy(np.uint32))
        documents.append({int(d) for d in mine["document"]})
    return words, documents


def holding(
    corpus: Corpus, rows: npt.NDArray[np.int64], words: Sequence[npt.NDArray[np.uint32]], budget: int, turns: int
) -> list[int]:
    """Contexts that hold the units' words, of at most `budget` tokens: in turn one for each unit, its words in turn.

    A context serves all units whose words it holds.
    """
    wanted = np.unique(np.concatenate([*words, np.zeros(0, np.uint32)]))
    rows_of: dict[int, list[int]] = defaultdict(list)
    for row in rows.tolist():
        offset, length = int(corpus.contexts["offset"][row]), int(corpus.contexts["length"][row])
        for token in np.intersect1d(corpus.tokens[offset : offset + length], wanted).tolist():
            rows_of[token].append(row)
    chosen: dict[int, None] = {}
    taken: dict[tuple[int, int], int] = defaultdict(int)
    for turn in range(turns):
        for number, mine in enumerate(words):
            if not len(mine):
                continue
            word = int(mine[turn % len(mine)])
            place = taken[number, word]
            if place >= len(rows_of[word]):
                continue
            taken[number, word] += 1
            row = rows_of[word][place]
            length = int(corpus.contexts["length"][row])
            if row not in chosen and length <= budget:
                chosen[row] = None
                budget -= length
    return list(chosen)


def drawn(corpus: Corpus, rows: npt.NDArray[np.int64], known: set[int], budget: int) -> Iterator[int]:
    """The first contexts of at most `budget` tokens, those that are known left out."""
    for row in rows.tolist():
        budget -= int(corpus.contexts["length"][row])
        if budget < 0:
            return
        if row not in known:
            yield row
