"""Splitting: which features of a larger dictionary a feature of a smaller one becomes.

A feature's parent is the feature of the smaller dictionary with the nearest decoder row among those that fire at half or more of the
tokens at which it fires itself. Each feature has one parent at most, so parents and children form trees. Bricken et al. (2023,
"Towards Monosemanticity") describe splitting by decoder cosines alone; firing decides here which of several near features is broader.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from sae.studies.matching import FEWEST, Side, pairs

INSIDE = 0.5
"""Smallest share of a child's tokens at which its parent fires."""
NONE = -1


@dataclass(frozen=True, eq=False)
class Parents:
    """For each feature of the larger dictionary, all (d_sae,): its `parent` or `NONE`, the `cosine` of their decoder rows, and the share
    of its own tokens at which the parent fires (`inside`); both NaN without a parent."""

    parent: npt.NDArray[np.int64]
    cosine: npt.NDArray[np.float32]
    inside: npt.NDArray[np.float32]

    def children(self) -> dict[int, list[int]]:
        """The children of each parent, ascending."""
        families: dict[int, list[int]] = {}
        for child in np.flatnonzero(self.parent != NONE).tolist():
            families.setdefault(int(self.parent[child]), []).append(child)
        return families


@torch.inference_mode()
def parents(larger: Side, smaller: Side, cosine: float) -> Parents:
    """The parents, with at least this cosine, of all features that fire at `FEWEST` tokens. Memory is that of `matching.pairs`."""
    n = larger.dictionary.d_sae
    found = Parents(np.full(n, NONE), np.full(n, np.nan, dtype=np.float32), np.full(n, np.nan, dtype=np.float32))
    counts = larger.firings.counts
    for chunk in pairs(larger, smaller):
        own = counts[chunk.start : chunk.start + len(chunk.cosine)]
        inside = chunk.joint / np.maximum(own, 1)[:, None]
        possible = (inside >= INSIDE) & (chunk.cosine >= cosine) & (own >= FEWEST)[:, None]
        best = np.where(possible, chunk.cosine, -2).argmax(axis=1)
        rows = np.flatnonzero(possible.any(axis=1))
        at = chunk.start + rows
        found.parent[at] = best[rows]
        found.cosine[at] = chunk.cosine[rows, best[rows]]
        found.inside[at] = inside[rows, best[rows]]
    return found


def covered(smaller: Side, parent: int, larger: Side, children: list[int]) -> float:
    """The share of a parent's tokens at which one of its children fires."""
    own = smaller.firings.tokens_of(parent)
    union = np.unique(np.concatenate([larger.firings.tokens_of(child) for child in children]))
    return float(np.isin(own, union).mean()) if len(own) else float("nan")
