"""Cuts tokenised documents into contexts and appends these to files."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import IO

import numpy as np

from sae.corpus.encoding import Encoded, Turn

CONTEXT = np.dtype([("document", "<i8"), ("position", "<i4"), ("offset", "<i8"), ("length", "<i4")])
TOKEN = np.dtype("<u4")
OFFSET = np.dtype("<i8")
TURN = np.dtype([("first", "<i8"), ("end", "<i8"), ("number", "<i4"), ("role", "<i4")])
LONGEST_ROLE = 64
"""Characters of a role's name that are kept."""


class ContextWriter:
    """Writes `tokens`, `contexts`, in `template` the offsets of the chat template's tokens, int64 in ascending order, and in `turns` the
    offsets between which each message of a conversation stands, to binary files. Each source has one unfinished document at a time."""

    def __init__(
        self,
        tokens: IO[bytes],
        contexts: IO[bytes],
        template: IO[bytes],
        turns: IO[bytes],
        stride: int,
        max_tokens: int,
    ) -> None:
        self.tokens, self.contexts, self.template, self.turns = tokens, contexts, template, turns
        self.stride, self.max_tokens = stride, max_tokens
        self.n_tokens = self.n_documents = 0
        self.tokens_by_source: dict[int, int] = {}
        self._open: dict[int, _OpenDocument] = {}
        self._roles: dict[str, int] = {}

    @property
    def roles(self) -> list[str]:
        """Names of the roles, at the numbers by which turns name them."""
        return list(self._roles)

    @property
    def full(self) -> bool:
        return self.n_tokens >= self.max_tokens

    def add(self, pieces: Sequence[tuple[int, bool]], encoded: Sequence[Encoded]) -> None:
        """Append pieces of documents, given as (source, last) and their tokens."""
        for (source, last), piece in zip(pieces, encoded, strict=True):
            document = self._open.setdefault(source, _OpenDocument())
            document.pending.extend(piece.ids)
            document.template.extend(piece.template or [False] * len(piece.ids))
            document.turns.extend(piece.turns)
            self.tokens_by_source[source] = self.tokens_by_source.get(source, 0) + len(piece.ids)
            self._cut(document, at_end=last)
            if last:
                del self._open[source]

    def close(self) -> None:
        for document in self._open.values():
            self._cut(document, at_end=True)

    def _cut(self, document: _OpenDocument, at_end: bool) -> None:
        """Write the document's pending tokens as contexts; a shorter rest waits for more text unless the document is at its end."""
        pending = np.asarray(document.pending, dtype=TOKEN)
        end = len(pending) if at_end else len(pending) - len(pending) % self.stride
        end = min(end, self.max_tokens - self.n_tokens)
        if end <= 0:
            return
        if document.number < 0:
            document.number, self.n_documents = self.n_documents, self.n_documents + 1
        starts = np.arange(0, end, self.stride)
        rows = np.zeros(len(starts), dtype=CONTEXT)
        rows["document"] = document.number
        rows["position"] = document.position + starts
        rows["offset"] = self.n_tokens + starts
        rows["length"] = np.minimum(self.stride, end - starts)
        self.tokens.write(pending[:end].tobytes())
        self.template.write((self.n_tokens + np.flatnonzero(document.template[:end])).astype(OFFSET).tobytes())
        self.contexts.write(rows.tobytes())
        self.turns.write(self._turns(document.turns[:end]).tobytes())
        self.n_tokens += end
        document.position += end
        del document.pending[:end], document.template[:end], document.turns[:end]

    def _turns(self, turns: Sequence[Turn | None]) -> np.ndarray:
        """The stretches of tokens of one turn, for tokens from offset `n_tokens` on."""
        rows = []
        first = self.n_tokens
        for turn, tokens in itertools.groupby(turns):
            end = first + sum(1 for _ in tokens)
            if turn is not None:
                role = self._roles.setdefault(turn.role[:LONGEST_ROLE], len(self._roles))
                rows.append((first, end, turn.number, role))
            first = end
        return np.array(rows, dtype=TURN)


class _OpenDocument:
    """A document of which more text may come. It gets a number with its first token."""

    def __init__(self) -> None:
        self.number, self.position = -1, 0
        self.pending: list[int] = []
        self.template: list[bool] = []
        self.turns: list[Turn | None] = []
