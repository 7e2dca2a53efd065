"""The nearest directions of features over whole dictionaries, by the cosine of their decoder rows.

*Scaling Monosemanticity* looks at neighbourhoods in this way, in dictionaries of several sizes together. Cosines are computed in blocks,
each pair of blocks once: the memory beside the dictionaries and the result is that of a few blocks, under 100 MiB, whatever the number
of features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import normalize

from sae.analysis.directions import LargestCosines
from sae.dictionary import Dictionary
from sae.errors import SaeError

_BLOCK = 2048
"""Features of a block; the cosines of two blocks take 16 MiB."""

Report = Callable[[int, int], None]
"""Told how many of how many steps are done."""


@dataclass(frozen=True)
class Directions:
    """The decoder rows of dictionaries that write vectors of one width. Features are numbered through, the first dictionary's first."""

    decoders: tuple[Tensor, ...]
    """(d_sae, width) each."""
    device: torch.device

    @classmethod
    def of(cls, dictionaries: Sequence[Dictionary], device: torch.device) -> Directions:
        """The directions of these dictionaries. Raises `SaeError` for different widths, and for features that write to several layers."""
        for dictionary in dictionaries:
            if dictionary.W_dec.ndim != 2:
                raise SaeError(
                    f"{dictionary.path}: its features write to several layers, so they have no one direction"
                )
        widths = sorted({dictionary.W_dec.shape[1] for dictionary in dictionaries})
        if len(widths) > 1:
            raise SaeError(
                f"the dictionaries write vectors of {' and '.join(map(str, widths))} numbers: name those of one width"
            )
        return cls(tuple(dictionary.W_dec for dictionary in dictionaries), device)

    def __len__(self) -> int:
        return self.starts[-1]

    @property
    def width(self) -> int:
        """Numbers in a direction."""
        return int(self.decoders[0].shape[1])

    @property
    def starts(self) -> list[int]:
        """The number of the first feature of each dictionary, and the number of features in all."""
        starts = [0]
        for decoder in self.decoders:
            starts.append(starts[-1] + len(decoder))
        return starts

    def blocks(self) -> list[range]:
        """Ranges of at most `_BLOCK` features of one dictionary each."""
        return [
            range(at, min(at + _BLOCK, stop)) for start, stop in pairwise(self.starts) for at in range(start, stop, _BLOCK)
        ]  # fmt: skip

    def block(self, numbers: range) -> Tensor:
        """The unit vectors (n, width) of a block, float32."""
        [(start, decoder)] = [
            (start, decoder) for start, decoder in zip(self.starts, self.decoders, strict=False)
            if start <= numbers.start < start + len(decoder)
        ]  # fmt: skip
        return normalize(decoder[numbers.start - start : numbers.stop - start].to(self.device).float(), dim=1)

    def rows(self, numbers: Tensor) -> Tensor:
        """The unit vectors (n, width) of the features with these numbers (n,), float32; zeros for a decoder row of zeros."""
        found = torch.zeros(len(numbers), self.width, device=self.device)
        for (start, stop), decoder in zip(pairwise(self.starts), self.decoders, strict=True):
            here = ((numbers >= start) & (numbers < stop)).nonzero()[:, 0]
            own = decoder.index_select(0, (numbers[here] - start).to(decoder.device)).to(self.device)
            found[here.to(self.device)] = normalize(own.float(), dim=1)
        return found


@torch.no_grad()
def cosines_with(directions: Directions, direction: Tensor) -> Tensor:
    """The cosine (features,) of `direction` (width,) with every feature's direction, on the CPU; 0 for a decoder row of zeros."""
    own = normalize(direction.to(directions.device).float(), dim=0)
    return torch.cat([directions.block(block) @ own for block in directions.blocks()]).cpu()


@torch.no_grad()
def nearest_of_all(directions: Directions, n: int, report: Report) -> tuple[Tensor, Tensor]:
    """For every feature the numbers (features, n) of those with the largest cosines above 0, nearest first, and the cosines.

    The number is -1 where there is no further one.
    """
    blocks = directions.blocks()
    largest = [_largest(torch.arange(b.start, b.stop), n, directions) for b in blocks]
    done, pairs = 0, len(blocks) * (len(blocks) + 1) // 2
    for i, block in enumerate(blocks):
        own = directions.block(block)
        for j in range(i, len(blocks)):
            cosines = own @ (own if j == i else directions.block(blocks[j])).T
            if j > i:
                largest[j].add(block.start, cosines.T)
            largest[i].add(blocks[j].start, cosines)
            done += 1
            report(done, pairs)
    return _joined(largest)


@torch.no_grad()
def nearest_of(directions: Directions, numbers: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """As `nearest_of_all`, for the features with these numbers (q,) only: (q, n) each."""
    found = []
    for queries in torch.split(numbers, _BLOCK):
        own, largest = directions.rows(queries), _largest(queries, n, directions)
        for block in directions.blocks():
            largest.add(block.start, own @ directions.block(block).T)
        found.append(largest)
    return _joined(found)


def _largest(queries: Tensor, n: int, directions: Directions) -> LargestCosines:
    return LargestCosines(queries.to(directions.device), n)


def _joined(largest: Sequence[LargestCosines]) -> tuple[Tensor, Tensor]:
    numbers, cosines = zip(*(each.table() for each in largest), strict=True)
    return torch.cat(numbers).cpu(), torch.cat(cosines).cpu()
