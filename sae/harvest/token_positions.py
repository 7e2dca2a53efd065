"""Where a batch's tokens stand: the side that each is on, the hash that samples go by, its window, its place on the ring of hashes."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import torch
from torch import Tensor

EXPLAIN, JUDGE = 0, 1
"""The two sides that documents are split into."""
TURN = 1 << 32
"""Hashes on the ring."""
SIDE = 4 * TURN
"""How far apart the two sides' rings are laid out, each twice in a row so that no range wraps around."""


class Batch(NamedTuple):
    """Where N tokens stand, in C contexts one after another, without BOS and padding.

    `counted` (N,); `length` (C,) tokens of a context; `document` (C,); `position` (C,) of its first token within the document;
    `ordinal` (C,) of that token in the corpus.
    """

    counted: Tensor
    length: Tensor
    document: Tensor
    position: Tensor
    ordinal: Tensor


class Places:
    """What the sketch needs to know of a batch's tokens, (N,) each unless said otherwise."""

    def __init__(self, batch: Batch, seed: int, window: int) -> None:
        self.batch, device = batch, batch.counted.device
        n_tokens = len(batch.counted)
        self.context = torch.arange(len(batch.length), device=device).repeat_interleave(batch.length)
        begin = (batch.length.cumsum(0) - batch.length)[self.context]
        column = torch.arange(n_tokens, device=device)
        self.ordinal = batch.ordinal[self.context] + column - begin
        self.side = sides(batch.document, seed)[self.context]
        document = mix(batch.document.to(torch.int32) ^ hash32(f"{seed}/token"))[self.context]
        self.token = mix(document + (batch.position[self.context] + column - begin).to(torch.int32) * 0x1E3779B1)
        length = batch.length[self.context]
        # The mark's place in its window is a hash of the token alone, drawn alike for all units and arms.
        place = mix(self.token ^ hash32("place")).long().remainder(window)
        latest = begin + (length - window).clamp(min=0)
        self.first = torch.minimum(torch.maximum(column - place, begin), latest)
        self.inside = (begin + length - self.first).clamp(max=window)
        self.origin = torch.tensor([0, SIDE], device=device)
        self.ring, self.order = self._ring()

    def _ring(self) -> tuple[Tensor, Tensor]:
        """The counted tokens' hashes, ascending, a side after the other and each side twice, and the tokens' columns."""
        chosen = self.batch.counted.nonzero().squeeze(1)
        chosen = chosen[self.ordinal[chosen].argsort(stable=True)]
        hashes, order = (self.token[chosen].long() % TURN).sort(stable=True)
        chosen = chosen[order]
        rings, columns = [], []
        for side in (EXPLAIN, JUDGE):
            mine = self.side[chosen] == side
            ring = hashes[mine] + side * SIDE
            rings += [ring, ring + TURN]
            columns += [chosen[mine]] * 2
        return torch.cat(rings), torch.cat(columns)


def sides(document: Tensor, seed: int) -> Tensor:
    """`EXPLAIN` or `JUDGE` for each document number."""
    return ((mix(document.to(torch.int32) ^ hash32(f"{seed}/side")) >> 8) & 1).long()


def mix(x: Tensor) -> Tensor:
    """A bijection of 32-bit integers that spreads every input bit over all output bits."""
    x = x * -0x3D4D51CB
    x = x ^ ((x >> 15) & 0x1FFFF)
    x = x * 0x2C1B3C6D
    return x ^ ((x >> 13) & 0x7FFFF)


def hash32(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little", signed=True)
