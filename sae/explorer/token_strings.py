"""Strings of the tokens of many windows, as numbers of distinct strings, so that a vocabulary is decoded once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sae.subject.token_text import REPLACEMENT, has_bytes, token_texts

_UNSEEN, _IN_CONTEXT = -2, -1


class TokenStrings:
    """Turns token ids into numbers of `strings`.

    The text of most tokens does not depend on the tokens beside them. Those that are part of a character do, and all tokens of a
    vocabulary that is not defined by bytes: their windows are decoded as a whole.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._has_bytes = has_bytes(tokenizer)
        self._codes: dict[str, int] = {}
        self._code_of_id = np.zeros(0, dtype=np.int32)

    @property
    def strings(self) -> list[str]:
        """The distinct strings so far."""
        return list(self._codes)

    def codes(self, ids: NDArray[np.integer]) -> NDArray[np.int32]:
        """The number of each id's string (n,), -1 for ids whose text depends on the tokens beside them."""
        self._learn(np.unique(ids).astype(np.int64))
        found: NDArray[np.int32] = self._code_of_id[ids]
        return found

    def window(self, ids: NDArray[np.integer]) -> list[str]:
        """The strings of one window's tokens."""
        return token_texts(self._tokenizer, ids.tolist())

    def code(self, string: str) -> np.int32:
        """The number of a string."""
        return np.int32(self._codes.setdefault(string, len(self._codes)))

    def _learn(self, ids: NDArray[np.int64]) -> None:
        more = int(ids.max(initial=-1)) + 1 - len(self._code_of_id)
        if more > 0:
            self._code_of_id = np.append(self._code_of_id, np.full(more, _UNSEEN, dtype=np.int32))
        for i in ids[self._code_of_id[ids] == _UNSEEN].tolist():
            [text] = token_texts(self._tokenizer, [i]) if self._has_bytes else [""]
            alone = text and REPLACEMENT not in text
            self._code_of_id[i] = self.code(text) if alone else _IN_CONTEXT
