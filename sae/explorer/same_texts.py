"""Pairs of marked texts of a unit that read alike, for many units at once.

The measure is that of `sae.harvest.shown_texts`: the stretch around the mark is compared by its short runs of tokens. Here stretches that
overlap in the corpus count as alike too, since a reader gains nothing from a second mark in one sentence.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from sae.corpus.corpus import Corpus
from sae.harvest.shown_texts import REACH, RUN, SAME

Numbers = NDArray[np.int64]

_WIDTH = 2 * REACH + 1
_RUNS = _WIDTH - RUN + 1
_NO_TOKEN = 2**32
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_UNIT_FACTOR = np.uint64(0xC2B2AE3D27D4EB4F)


def alike(corpus: Corpus, token: Numbers, unit: Numbers) -> Numbers:
    """Pairs (p, 2), ascending, of the indices of events (n,) of one unit whose texts are alike, given the ordinal of each one's token."""
    if not len(token):
        return np.zeros((0, 2), dtype=np.int64)
    runs, n_runs = _runs(corpus, token)
    event, place = np.nonzero(np.arange(_RUNS) < n_runs[:, None])
    key = runs[event, place] ^ (unit[event].astype(np.uint64) * _UNIT_FACTOR)
    # A run that a text repeats counts once: runs are sorted within each text.
    first = np.ones(len(key), dtype=bool)
    first[1:] = (key[1:] != key[:-1]) | (event[1:] != event[:-1])
    key, event = key[first], event[first]
    distinct = np.bincount(event, minlength=len(token))
    order = np.argsort(key, kind="stable")
    key, event = key[order], event[order]
    same = key[1:] == key[:-1]
    shared = np.zeros(len(key), dtype=bool)
    shared[1:] |= same
    shared[:-1] |= same
    group = np.cumsum(np.concatenate([[False], ~same]))[shared]
    incidence = csr_matrix(
        (np.ones(len(group), dtype=np.int32), (event[shared], np.unique(group, return_inverse=True)[1])),
        shape=(len(token), max(1, len(group))),
    )
    counts = (incidence @ incidence.T).tocoo()
    one, other = counts.row.astype(np.int64), counts.col.astype(np.int64)
    kept = (one < other) & (counts.data >= SAME * np.minimum(distinct[one], distinct[other]))
    pairs = np.stack([one[kept], other[kept]], axis=1)
    found: Numbers = pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))]
    return found


def _runs(corpus: Corpus, token: Numbers) -> tuple[NDArray[np.uint64], Numbers]:
    """Hashes of the runs around each token (n, _RUNS), ascending in each row, and the number of them; the others stand at the end."""
    starts = corpus.contexts["offset"]
    context = np.searchsorted(starts, token, side="right") - 1
    first = np.maximum(starts[context], token - REACH)
    end = np.minimum(starts[context] + corpus.contexts["length"][context], token + REACH + 1)
    at = first[:, None] + np.arange(_WIDTH)
    ids = np.asarray(corpus.tokens)[np.minimum(at, len(corpus.tokens) - 1)].astype(np.uint64)
    ids[at >= end[:, None]] = _NO_TOKEN
    hashes = np.zeros((len(token), _RUNS), dtype=np.uint64)
    for offset in range(RUN):
        hashes = (hashes ^ ids[:, offset : offset + _RUNS]) * _FACTOR
        hashes ^= hashes >> np.uint64(29)
    n_runs = np.maximum(1, end - first - RUN + 1).astype(np.int64)
    hashes[np.arange(_RUNS) >= n_runs[:, None]] = np.iinfo(np.uint64).max
    hashes.sort(axis=1)
    return hashes, n_runs


def first_unlike(pairs: Numbers, group: Numbers, level: Numbers, quota: Numbers) -> NDArray[np.bool_]:
    """Mask (n,) of events chosen greedily in their order: those that are like no chosen event before them, up to `quota` (levels,) of each
    level of a group.

    Events stand in the order of (group, level). `pairs` (p, 2), ascending by their second event, are of one group each.
    """
    n = len(group)
    chosen, barred = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    for number, most in enumerate(quota.tolist()):
        here = level == number
        within = pairs[here[pairs].all(axis=1)]
        repeats = barred.copy()
        for one, other in within.tolist():
            if not repeats[one]:
                repeats[other] = True
        index = np.flatnonzero(here & ~repeats)
        index = index[places(group[index]) < most]
        chosen[index] = True
        barred[pairs[chosen[pairs[:, 0]], 1]] = True
    return chosen


def places(*columns: Numbers) -> Numbers:
    """The place (n,), from 0, of each row among its equals, which stand together."""
    differs = np.zeros(len(columns[0]), dtype=bool)
    for column in columns:
        differs[1:] |= column[1:] != column[:-1]
    differs[:1] = True
    begins = np.flatnonzero(differs)
    place: Numbers = np.arange(len(differs)) - np.repeat(begins, np.diff(begins, append=len(differs)))
    return place
