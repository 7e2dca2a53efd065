"""Positions of a batch's tokens: the split, hash, window and place on the hash ring of each."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import torch
from torch import Tensor

from sae.harvest.activation_blocks import Events

EXPLAIN, JUDGE = 0, 1
"""The two splits of the documents: one explains units, the other judges the explanations."""
RING_SIZE = 1 << 32
"""Number of distinct hashes."""
RING_DISTANCE = 4 * RING_SIZE
"""Distance between the rings of the two splits. Each ring is stored twice in a row, so that no range on it wraps around."""


class BatchLayout(NamedTuple):
    """Where the N tokens of a batch stand: C contexts one after another, without BOS and padding.

    `counted` (N,); per context (C,): `length` in tokens, the key of its `document` (`Corpus.document_keys`), `position` of its first token within the
    document, and `ordinal` of that token in the corpus.
    """

    counted: Tensor
    length: Tensor
    document: Tensor
    position: Tensor
    ordinal: Tensor


class TokenPositions:
    """What the sketch needs to know about the N tokens of a batch.

    For each token (N,): `context`, `document`, `ordinal` in the corpus, `split`, `hash` (int32), and its window, which is `window_length` columns
    from `window_start` on. `ring` holds the hashes of the counted tokens in ascending order, `ring_column` their columns.
    """

    def __init__(self, batch: BatchLayout, seed: int, window: int) -> None:
        self.batch, device = batch, batch.counted.device
        n_tokens = len(batch.counted)
        self.context = torch.arange(len(batch.length), device=device).repeat_interleave(batch.length)
        context_start = (batch.length.cumsum(0) - batch.length)[self.context]
        column = torch.arange(n_tokens, device=device)
        self.ordinal = batch.ordinal[self.context] + column - context_start
        self.document = batch.document.long()[self.context]
        self.split = self._splits(seed)[self.context]
        document_hash = mix(batch.document.to(torch.int32) ^ hash32(f"{seed}/token"))[self.context]
        position = (batch.position[self.context] + column - context_start).to(torch.int32)
        self.hash = mix(document_hash + position * 0x1E3779B1)
        length = batch.length[self.context]
        # Windows that would leave their context are moved back into it.
        last_start = context_start + (length - window).clamp(min=0)
        self.window_start = torch.minimum(torch.maximum(column - self._places(window), context_start), last_start)
        self.window_length = (context_start + length - self.window_start).clamp(max=window)
        self.ring_origin = torch.tensor([0, RING_DISTANCE], device=device)
        self.ring, self.ring_column = self._make_ring()

    def clusters(self, events: Events) -> Tensor:
        """The document of each active event. Silent events, -1, are clusters of their own: of one document they are as good as of many."""
        return torch.where(events.value > 0, self.document.index_select(0, events.column), -1)

    def _splits(self, seed: int) -> Tensor:
        """The split of each context's document."""
        return split_of(self.batch.document, seed)

    def _places(self, window: int) -> Tensor:
        """Where each token stands in its window. That depends on its hash alone, so it is distributed alike for all units and arms and
        tells a judge nothing."""
        return mix(self.hash ^ hash32("place")).long().remainder(window)

    def _make_ring(self) -> tuple[Tensor, Tensor]:
        """The counted tokens' hashes and columns: explaining ring twice, then judging ring twice, ascending throughout.

        Tokens of equal hash stand in the order of the corpus.
        """
        columns = self.batch.counted.nonzero().squeeze(1)
        columns = columns[self.ordinal[columns].argsort(stable=True)]
        hashes, order = (self.hash[columns].long() % RING_SIZE).sort(stable=True)
        columns = columns[order]
        rings, ring_columns = [], []
        for split in (EXPLAIN, JUDGE):
            in_split = self.split[columns] == split
            ring = hashes[in_split] + split * RING_DISTANCE
            rings += [ring, ring + RING_SIZE]
            ring_columns += [columns[in_split]] * 2
        return torch.cat(rings), torch.cat(ring_columns)


def split_of(document: Tensor, seed: int) -> Tensor:
    """`EXPLAIN` or `JUDGE` for each document, given its key."""
    return ((mix(document.to(torch.int32) ^ hash32(f"{seed}/side")) >> 8) & 1).long()


def mix(x: Tensor) -> Tensor:
    """A bijection of 32-bit integers that spreads every input bit over all output bits (multiply, xorshift, twice)."""
    x = x * -0x3D4D51CB
    x = x ^ ((x >> 15) & 0x1FFFF)  # the masks make the shifts of signed integers logical ones
    x = x * 0x2C1B3C6D
    return x ^ ((x >> 13) & 0x7FFFF)


def hash32(text: str) -> int:
    """A signed 32-bit hash of a text: the first bytes of its sha-256."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little", signed=True)
