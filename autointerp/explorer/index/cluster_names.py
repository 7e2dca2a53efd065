"""Names of the map's clusters: the words of their features that mean most nearly what the cluster's features have in common.

A feature has the words of its explanation, or the whole words around the tokens at which it is strongest. Meaning is that of static word
vectors, so that a cluster of features for "dollars", "price" and "funds" is named although no two of them share a word.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from autointerp.explorer.index.folder import EXAMPLES, LABELS, IndexFolder
from autointerp.judges.embedded.word_vectors import lexicon

WORDS = 3
"""Words of a name."""
_WORDS_OF_FEATURE = 4
_COHERENT = 1.2
"""How far from the mean of all features a cluster's mean has to be, over the distance that is due to chance, to have a name."""
_INFORMATIVE = 0.45
"""Least weight of an explanation's word: that of "tokens" is below it."""
_STEM = 5
"""Letters in which two words of a name may not agree."""
_LEAST_WEIGHT, _TINY = 1e-3, 1e-9
_WORD = re.compile(r"[^\W\d_]{3,}")
_NAME = re.compile(r"[^\W\d_]{2,30}")

Vectors = NDArray[np.float32]


def names_of(folder: IndexFolder, cluster_of: NDArray[np.int64]) -> list[str]:
    """The name of each cluster, given the cluster of each feature; empty where its features have too little in common."""
    words = _words(folder, len(cluster_of))
    number_of = {word: i for i, word in enumerate(sorted(set(chain.from_iterable(words))))}
    known = lexicon()
    vectors = np.array([known.word(word) for word in number_of], dtype=np.float32).reshape(-1, len(known.word("")))
    weights = np.array([known.weight(word) + _LEAST_WEIGHT for word in number_of], dtype=np.float32)
    own = [np.array([number_of[word] for word in some], dtype=np.int64) for some in words]
    features = _unit(np.array([weights[some] @ vectors[some] for some in own], dtype=np.float32))
    common = features.mean(axis=0)
    features = _unit(features - common) * np.any(features, axis=1)[:, None]
    vectors = _unit(vectors - common) * np.any(vectors, axis=1)[:, None]
    spelled = list(number_of)
    return [
        _name(features[members], np.unique(np.concatenate([own[i] for i in members])), vectors, spelled)
        for members in (np.flatnonzero(cluster_of == number) for number in range(int(cluster_of.max()) + 1))
    ]


def _name(features: Vectors, candidates: NDArray[np.int64], vectors: Vectors, spelled: Sequence[str]) -> str:
    mean = features.mean(axis=0)
    if float(np.linalg.norm(mean)) * len(features) ** 0.5 < _COHERENT:
        return ""
    chosen: list[str] = []
    for number in candidates[np.argsort(-(vectors[candidates] @ mean), kind="stable")].tolist():
        word = spelled[number]
        if len(chosen) < WORDS and all(word[:_STEM] != other[:_STEM] for other in chosen):
            chosen.append(word)
    return ", ".join(chosen)


def _words(folder: IndexFolder, n: int) -> list[list[str]]:
    """The words of each feature in small letters."""
    counted: list[Counter[str]] = [Counter() for _ in range(n)]
    for row, word in _marked(folder):
        if row < n:
            counted[row].update(set(_WORD.findall(word.lower())))
    words = [[word for word, _ in counts.most_common(_WORDS_OF_FEATURE)] for counts in counted]
    weight = lexicon().weight
    for label in folder.table(LABELS, ["row", "explanation"]).to_pylist():
        said = set(_NAME.findall((label["explanation"] or "").lower()))
        informative = sorted(word for word in said if weight(word) >= _INFORMATIVE)
        if label["row"] < n and informative:
            words[label["row"]] = informative
    return words


def _marked(folder: IndexFolder) -> Iterator[tuple[int, str]]:
    """The row and the whole word around the mark of each of the strongest examples."""
    with pq.ParquetFile(folder.path / EXAMPLES) as file:
        for number in range(file.num_row_groups):
            table = file.read_row_group(number, columns=["row", "bin", "mark", "tokens"])
            table = table.filter(pc.equal(table["bin"], 0))
            for row, mark, tokens in zip(*(table[name].to_pylist() for name in ("row", "mark", "tokens")), strict=True):
                yield row, word_at(tokens, mark)


def word_at(tokens: Sequence[str], mark: int) -> str:
    """The marked token with those before and after it that belong to the same word."""
    first, last = mark, mark + 1
    while first > 0 and tokens[first][:1].isalpha() and tokens[first - 1][-1:].isalpha():
        first -= 1
    while last < len(tokens) and tokens[last][:1].isalpha() and tokens[last - 1][-1:].isalpha():
        last += 1
    return "".join(tokens[first:last])


def _unit(rows: Vectors) -> Vectors:
    lengths: Vectors = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _TINY)
    return rows / lengths
