"""Word vectors and word frequencies from wordllama's static embeddings and their tokenizer.

A text's vector is the mean of its tokens' vectors (256 numbers each). A word's frequency follows from Zipf's law and the order in which the
tokenizer learned its pieces, most frequent first: rough, but enough to distinguish "the" from "zygote" in many languages.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import files, version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autointerp.errors import UsageError
from sae.errors import one_line

Vector = NDArray[np.float32]

_FIRST_MERGE, _FIRST_CHARACTER = 259, 29871
"""Ids in the tokenizer's vocabulary: 3 special tokens and 256 bytes, then the merged pieces in order, then single characters."""
_SPACE = 29871
_BEGINS_A_WORD = "\u2581"
"""What the tokenizer writes for the space before a word."""
_MOST_FREQUENT, _CHARACTER, _RARE = 0.05, 1e-4, 1e-5
"""Assumed frequencies of the first piece, of a single character, and of a word that is not a piece."""


class Lexicon:
    """Vectors and frequencies of words, which threads may share. Raises `UsageError` if wordllama's files cannot be read."""

    def __init__(self) -> None:
        try:
            with _log_as_it_was():
                import wordllama

            # Without cache_dir the package would look for its files in the home folder and then on the network.
            folder = Path(wordllama.__file__).parent
            model = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)
        except (ImportError, OSError) as error:
            message = one_line(error)
            raise UsageError(f"the embedded judge cannot load wordllama ({message}): pip install wordllama") from None
        self._table: Vector = model.embedding
        self._tokenizer = model.tokenizer
        self.version = f"wordllama {version('wordllama')}"
        self.word = lru_cache(maxsize=20_000)(self.text)
        self.weight = lru_cache(maxsize=50_000)(self._weight)

    def text(self, text: str) -> Vector:
        """Unit vector (256,) of a text, or zeros if it has no tokens. `word` is the same with a cache."""
        ids = self._ids(text)
        if not ids:
            return np.zeros(self._table.shape[1], dtype=np.float32)
        mean: Vector = self._table[ids].mean(axis=0)
        return mean / max(float(np.linalg.norm(mean)), 1e-9)

    def frequent_words(self, n: int) -> list[str]:
        """The first `n` words in small letters that are pieces of their own, the most frequent first."""
        pieces = sorted(self._tokenizer.get_vocab().items(), key=lambda piece: piece[1])
        words = (piece[1:].lower() for piece, _ in pieces if piece.startswith(_BEGINS_A_WORD))
        return list(dict.fromkeys(word for word in words if word.isalpha()))[:n]

    def frequency(self, word: str) -> float:
        """The approximate share of `word` among running words, from 0.05 ("the") down to 0.00001 (not a piece of its own)."""
        return max(self._piece_frequency(word), self._piece_frequency(word.capitalize()))

    def _weight(self, word: str) -> float:
        """How informative a match of `word` is, from 0 (as frequent as "the") to 1 (rare)."""
        return math.log(self.frequency(word) / _MOST_FREQUENT) / math.log(_RARE / _MOST_FREQUENT)

    def _piece_frequency(self, word: str) -> float:
        ids = self._ids(word)
        if len(ids) != 1 or ids[0] < _FIRST_MERGE:
            return _RARE
        if ids[0] >= _FIRST_CHARACTER:
            return _CHARACTER
        return min(_MOST_FREQUENT, 1.0 / (ids[0] - _FIRST_MERGE + 1))

    def _ids(self, text: str) -> list[int]:
        if not text.strip():
            return []
        valid = text.encode("utf-8", "replace").decode()
        ids: list[int] = self._tokenizer.encode(valid, add_special_tokens=False).ids
        return [i for i in ids if i != _SPACE and i < len(self._table)]


@contextmanager
def _log_as_it_was() -> Iterator[None]:
    """Undo the block's changes to the program's log: wordllama, when it is imported, has everything printed that any package logs."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    try:
        yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers


@lru_cache(maxsize=1)
def lexicon() -> Lexicon:
    """The one lexicon of this process."""
    return Lexicon()


def licence() -> bytes:
    """The licence under which the vectors may be passed on."""
    [path] = [path for path in files("wordllama") or [] if path.name == "LICENSE"]
    return path.read_binary()
