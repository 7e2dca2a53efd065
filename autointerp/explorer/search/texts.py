"""Many short texts as counts of numbered words, which a search for words and a search by meaning share.

A million explanations of ten words take about 80 MB in this form, and one pass over them takes about 20 ms.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import sparse

NO_WORD = r"[^\pL\pN\pM_]+"
"""What stands between two words, as RE2 writes it."""
_TEXTS_AT_ONCE = 100_000


class Texts:
    """Texts in which words can be found. `counts` (n_texts, n_words) says how often each word of `vocabulary` stands in each text."""

    def __init__(self, vocabulary: pa.Array, words: NDArray[np.int32], starts: NDArray[np.int64]) -> None:
        self.vocabulary = vocabulary
        self._known = pc.utf8_lower(pc.utf8_trim_whitespace(vocabulary))
        self.lengths = np.diff(starts).astype(np.float32)
        ones = np.ones(len(words), dtype=np.float32)
        self.counts = sparse.csr_array((ones, words, starts), shape=(len(starts) - 1, len(vocabulary)))

    @classmethod
    def of(cls, texts: pa.ChunkedArray) -> Texts:
        """The words of running texts in small letters. A null is a text without words."""
        chunks = (_words(texts.slice(at, _TEXTS_AT_ONCE)) for at in range(0, len(texts), _TEXTS_AT_ONCE))
        return cls.of_lists((pc.list_flatten(chunk), pc.list_value_length(chunk)) for chunk in chunks)

    @classmethod
    def of_lists(cls, chunks: Iterable[tuple[pa.Array, pa.Array]]) -> Texts:
        """Lists of words as texts, given in chunks: the words of all lists one after another, and the length of each list."""
        numbers, lengths = [], []
        for words, length in chunks:
            numbers.append(words.dictionary_encode())
            lengths.append(pc.fill_null(length, 0).to_numpy(zero_copy_only=False))
        encoded = pa.chunked_array(numbers, pa.dictionary(pa.int32(), pa.string())).unify_dictionaries()
        vocabulary = encoded.chunk(0).dictionary if numbers else pa.array([], pa.string())
        places = [chunk.indices.to_numpy(zero_copy_only=False) for chunk in encoded.chunks]
        starts = np.concatenate([[0], *lengths]).cumsum().astype(np.int64)
        return cls(vocabulary, np.concatenate([np.zeros(0, np.int32), *places]), starts)

    def __len__(self) -> int:
        return int(self.counts.shape[0])

    def with_word(self, word: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """For each text: how many of its words begin with `word`, and how many are that word, in small letters and without spaces."""
        return self._count(pc.starts_with(self._known, word)), self._count(pc.equal(self._known, word))

    def _count(self, wanted: pa.Array) -> NDArray[np.float32]:
        """How many words of each text are among those wanted of the vocabulary."""
        if not pc.any(wanted).as_py():
            return np.zeros(len(self), dtype=np.float32)
        counts: NDArray[np.float32] = self.counts @ wanted.to_numpy(zero_copy_only=False).astype(np.float32)
        return counts

    def tokens_of(self, text: int, most: int) -> list[str]:
        """The first words of a text."""
        first, last = self.counts.indptr[text : text + 2]
        numbers = pa.array(self.counts.indices[first : min(last, first + most)])
        tokens: list[str] = self.vocabulary.take(numbers).to_pylist()
        return tokens


def words_in(text: str) -> list[str]:
    """The words of a text in small letters, as `Texts.of` takes them apart."""
    found: list[str] = pc.list_flatten(_words(pa.chunked_array([pa.array([text], pa.string())]))).to_pylist()
    return found


def _words(texts: pa.ChunkedArray) -> pa.Array:
    """Lists of words of a chunk of texts."""
    plain = pc.replace_substring_regex(pc.utf8_lower(pc.fill_null(texts, "")), NO_WORD, " ")
    lists = pc.split_pattern(pc.utf8_trim(plain, " "), " ").combine_chunks()
    # An empty text splits into one empty word.
    return pc.if_else(pc.equal(pc.list_value_length(lists), 1), _without_empty(lists), lists)


def _without_empty(lists: pa.Array) -> pa.Array:
    first = pc.list_element(lists, 0)
    return pc.if_else(pc.equal(first, ""), pa.scalar([], lists.type), lists)
