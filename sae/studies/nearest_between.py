"""The nearest directions of two dictionaries in each other, by the cosine of their decoder rows.

Cosines are computed in blocks, each once for both dictionaries: the memory beside the dictionaries is that of a few blocks, whatever the
number of features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sae.studies.nearest_directions import Directions, Report

NONE = -1
_ABOVE_0 = 1e-6
"""Smaller cosines are 0 but for rounding."""


@dataclass(frozen=True, eq=False)
class Nearest:
    """For each feature of one dictionary, all (d_sae,): the `nearest` feature of another with a cosine above 0, or `NONE`; their
    `cosine`; and whether each is the other's nearest (`mutual`)."""

    nearest: npt.NDArray[np.int64]
    cosine: npt.NDArray[np.float32]
    mutual: npt.NDArray[np.bool_]


@torch.no_grad()
def nearest_between(one: Directions, other: Directions, report: Report) -> tuple[Nearest, Nearest]:
    """The nearest of each dictionary's features in the other. The directions have one width."""
    blocks, columns = one.blocks(), other.blocks()
    found, back = _Best(len(one), one.device), _Best(len(other), one.device)
    for done, block in enumerate(blocks):
        own = one.block(block)
        for column in columns:
            cosines = own @ other.block(column).T
            found.add(block, column.start, cosines)
            back.add(column, block.start, cosines.T)
        report(done + 1, len(blocks))
    return found.with_mutual(back), back.with_mutual(found)


class _Best:
    """The largest cosine of each of n features, and the number of the other feature, over the blocks that were added."""

    def __init__(self, n: int, device: torch.device) -> None:
        self.cosine = torch.full((n,), _ABOVE_0, device=device)
        self.number = torch.full((n,), NONE, dtype=torch.int64, device=device)

    def add(self, rows: range, start: int, cosines: Tensor) -> None:
        """Add the cosines (len(rows), c) of a block with c others from number `start` on."""
        largest = cosines.amax(dim=1)
        # The place of a maximum takes ten times as long as its value, and after some blocks few features have a larger one.
        better = (largest > self.cosine[rows.start : rows.stop]).nonzero()[:, 0]
        self.cosine[rows.start + better] = largest[better]
        self.number[rows.start + better] = cosines[better].argmax(dim=1) + start

    def with_mutual(self, back: _Best) -> Nearest:
        """The result, given the best of the others."""
        nearest = self.number.cpu().numpy()
        known = nearest != NONE
        mutual = known & (back.number.cpu().numpy()[nearest] == np.arange(len(nearest)))
        cosine = np.where(known, self.cosine.cpu().numpy().clip(max=1), 0).astype(np.float32)
        return Nearest(nearest, cosine, mutual)
