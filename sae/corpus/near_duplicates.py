"""Finds near-duplicates among the documents of a corpus: documents that share much of their text, by short stretches of tokens.

Each document is represented by the lowest hashes of its stretches, a bottom-k sketch, from which the share of common stretches
(Jaccard similarity) of two documents is estimated (Cohen and Kaplan, "Summarizing Data using Bottom-k Sketches", PODC 2007; Broder,
"On the resemblance and containment of documents", 1997). Only documents that share one of their few lowest hashes are compared: of
two with a similarity of J, all but (1 - J)**COMPARED are.

Written out in numpy, because `datasketch` 2.0 takes 12 microseconds a token, 100 times as long, and the hashes of `rensa` change
with its versions, and would change results.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

SIMILAR = 1 / 3
"""Share of common stretches from which two documents are near-duplicates."""
STRETCH_BITS = 24
"""Information of a stretch, so that unrelated documents have few in common: about 4 tokens of words, or 7 of characters."""
KEPT = 32
"""Hashes of a document's sketch: 128 bytes of memory a document."""
COMPARED = 8
"""Lowest hashes of a sketch by which documents to compare are found."""
BOILERPLATE = 1 / 8
"""Stretches that occur in more than this share of the documents, such as a licence or a system prompt, are no sign of a copy."""
_MOST_COPIES = 8
"""Documents up to which a stretch is not boilerplate, however few documents there are."""
_SAMPLE = 1024
"""Documents in which boilerplate is looked for."""
_BLOCK = 1 << 20
"""Tokens that are hashed together, or those of one document if it has more."""
_NONE = np.iinfo(np.uint32).max
"""Fills the sketches of documents with few stretches."""

Tokens = npt.NDArray[np.uint32]
Hashes = npt.NDArray[np.uint32]
Numbers = npt.NDArray[np.int64]


def near_duplicates(tokens: Tokens, contexts: npt.NDArray[np.void]) -> Numbers:
    """For each of n documents the number of its cluster, (n,): near-duplicates of one document are in its cluster.

    `contexts`: rows of `Corpus.contexts`, ordered by document and position, the documents numbered from 0 without gaps. Clusters are
    numbered in the order of their first documents.
    """
    n = int(contexts["document"][-1]) + 1
    sampled = np.zeros(n, dtype=bool)
    sampled[np.linspace(0, n - 1, min(_SAMPLE, n)).astype(np.int64)] = True
    sample = contexts[sampled[contexts["document"]]]
    stretch = _stretch(tokens, sample)
    sketches = _sketches(tokens, contexts, n, stretch, _boilerplate(tokens, sample, stretch))
    pairs = _candidates(sketches)
    pairs = pairs[_similarity(sketches, pairs) >= SIMILAR]
    graph = coo_array((np.ones(len(pairs), dtype=bool), pairs.T), shape=(n, n))
    label = connected_components(graph, directed=False)[1]
    _, first_member, cluster = np.unique(label, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first_member))[cluster])


def _sketches(tokens: Tokens, contexts: npt.NDArray[np.void], n: int, stretch: int, boilerplate: Hashes) -> Hashes:
    """The `KEPT` lowest hashes of each document's stretches (n, KEPT), ascending, without boilerplate."""
    sketches = np.full((n, KEPT), _NONE, dtype=np.uint32)
    for block in _blocks(contexts):
        document, hashed = _stretches(tokens, block, stretch)
        if len(boilerplate):
            distinctive = ~np.isin(hashed, boilerplate)
            document, hashed = document[distinctive], hashed[distinctive]
        # Hashes are uniform, so of a document's N the lowest KEPT are below (KEPT + a margin) / N: only those are sorted.
        first = int(block["document"][0])
        size = np.bincount(document - first)
        bound = np.minimum((KEPT + 6 * KEPT**0.5) / np.maximum(size, 1) * 2.0**32, _NONE - 1).astype(np.uint32)
        low = hashed <= np.repeat(bound, size)
        document, hashed = _distinct(document[low], hashed[low])
        size = np.bincount(document - first)
        place = np.arange(len(document)) - np.repeat(size.cumsum() - size, size)
        kept = place < KEPT
        sketches[document[kept], place[kept]] = hashed[kept]
    return sketches


def _stretch(tokens: Tokens, sample: npt.NDArray[np.void]) -> int:
    """Tokens of a stretch with `STRETCH_BITS` of collision entropy, as if tokens were independent of each other."""
    n = np.zeros(0, dtype=np.int64)
    for block in _blocks(sample):
        more = np.bincount(tokens[_places(block)])
        n = np.pad(n, (0, max(0, len(more) - len(n)))) + np.pad(more, (0, max(0, len(n) - len(more))))
    bits = -np.log2(((n / n.sum()) ** 2).sum())
    return int(np.ceil(STRETCH_BITS / max(bits, 1.0)))


def _boilerplate(tokens: Tokens, sample: npt.NDArray[np.void], stretch: int) -> Hashes:
    """Hashes of stretches that occur in many documents of a sample, ascending."""
    hashes = np.concatenate([_distinct(*_stretches(tokens, block, stretch))[1] for block in _blocks(sample)])
    hashes.sort()
    n_documents = max(_MOST_COPIES, int(BOILERPLATE * len(np.unique(sample["document"]))))
    return np.unique(hashes[n_documents:][hashes[n_documents:] == hashes[:-n_documents]])


def _blocks(contexts: npt.NDArray[np.void]) -> list[npt.NDArray[np.void]]:
    """The contexts in runs of whole documents, of about `_BLOCK` tokens."""
    length = contexts["length"].astype(np.int64)
    starts = np.flatnonzero(np.diff(contexts["document"], prepend=-1))
    block = (length.cumsum() - length)[starts] // _BLOCK
    return np.split(contexts, starts[1:][np.diff(block) > 0])


def _places(contexts: npt.NDArray[np.void]) -> Numbers:
    """Places of the contexts' tokens, one context after another."""
    length = contexts["length"].astype(np.int64)
    return np.arange(length.sum()) + np.repeat(contexts["offset"] - (length.cumsum() - length), length)


def _stretches(tokens: Tokens, contexts: npt.NDArray[np.void], stretch: int) -> tuple[Numbers, Hashes]:
    """The document of each stretch and the stretch's hash, in the documents' order. No stretch spans two documents."""
    document = np.repeat(contexts["document"], contexts["length"])
    ids = tokens[_places(contexts)].astype(np.uint64)
    n = max(0, len(ids) - stretch + 1)
    hashed = np.zeros(n, dtype=np.uint64)
    for start in range(stretch):
        hashed ^= ids[start : start + n]
        hashed *= np.uint64(0x9E3779B97F4A7C15)
        hashed ^= hashed >> np.uint64(29)
    within = document[:n] == document[len(document) - n :]
    return document[:n][within], (hashed[within] >> np.uint64(32)).astype(np.uint32)


def _distinct(document: Numbers, hashed: Hashes) -> tuple[Numbers, Hashes]:
    """Each hash once for its document, by document and ascending. `np.unique` takes several times as long."""
    key = (document.astype(np.uint64) << np.uint64(32)) | hashed
    key.sort()
    key = key[np.append(True, key[1:] != key[:-1])[: len(key)]]
    return (key >> np.uint64(32)).astype(np.int64), key.astype(np.uint32)


def _candidates(sketches: Hashes) -> Numbers:
    """Pairs of documents (p, 2) to compare: each with the first one, and with the one before, that has a low hash in common."""
    hashed = sketches[:, :COMPARED].ravel()
    document = np.repeat(np.arange(len(sketches)), COMPARED)[hashed != _NONE]
    hashed = hashed[hashed != _NONE]
    order = np.argsort(hashed, kind="stable")
    hashed, document = hashed[order], document[order]
    same = np.append(False, hashed[1:] == hashed[:-1])[: len(hashed)]
    place = np.arange(len(hashed))
    first = np.maximum.accumulate(np.where(same, 0, place))
    pairs = [np.stack([document[other[same]], document[same]], axis=1) for other in (first, place - 1)]
    return np.unique(np.concatenate(pairs), axis=0)


def _similarity(sketches: Hashes, pairs: Numbers) -> npt.NDArray[np.float64]:
    """Estimated share of common stretches of each pair (p,): the share of the lowest hashes of both that both have."""
    shares = [np.zeros(0)]
    for part in np.array_split(pairs, len(pairs) // 100_000 + 1):
        both = np.sort(np.concatenate([sketches[part[:, 0]], sketches[part[:, 1]]], axis=1), axis=1)
        valid = both != _NONE
        repeats = np.zeros_like(valid)
        repeats[:, 1:] = valid[:, 1:] & (both[:, 1:] == both[:, :-1])
        place = (valid & ~repeats).cumsum(axis=1)
        counted = place <= KEPT
        union = np.minimum(place[:, -1], KEPT)
        shares.append((repeats & counted).sum(axis=1) / np.maximum(union, 1))
    return np.concatenate(shares)
