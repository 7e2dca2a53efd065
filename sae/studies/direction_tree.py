"""Groups of directions in a hierarchy, and directions in a plane.

Ward's method joins the two groups whose union raises the summed squared distances to the means least; the tree is cut at several numbers
of groups, so that the levels are nested. More than `_LEAVES` directions are first gathered by spherical k-means (Dhillon and Modha 2001)
into so many small groups, whose centres are the leaves: memory and time then grow with the number of directions alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster.hierarchy import cut_tree, linkage
from torch import Tensor
from torch.nn.functional import normalize

_LEAVES = 1000
_ROUNDS = 10
"""Rounds of k-means, unless no direction changes its group before."""
_CHUNK = 8192

Labels = NDArray[np.int64]


@torch.no_grad()
def nested_groups(rows: Tensor, sizes: Sequence[int], seed: int) -> Labels:
    """The group of each unit vector of `rows` (n, width) at each level (levels, n), at most `sizes[level]` groups on a level."""
    leaf_of, centres = _leaves(rows, seed)
    if len(centres) < 2:
        return np.zeros((len(sizes), len(rows)), dtype=np.int64)
    tree = linkage(centres.cpu().double().numpy(), "ward")
    levels = cut_tree(tree, [min(size, len(centres)) for size in sizes])
    labels: Labels = levels[leaf_of.cpu().numpy()].T.astype(np.int64)
    return labels


def _leaves(rows: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """The leaf of each row, and the leaves' centres: the rows themselves if they are few."""
    if len(rows) <= _LEAVES:
        return torch.arange(len(rows)), rows
    generator = torch.Generator().manual_seed(seed)
    centres = rows[torch.randperm(len(rows), generator=generator)[:_LEAVES].to(rows.device)]
    leaf_of = _nearest_centre(rows, centres)
    for _ in range(_ROUNDS):
        sums = torch.zeros_like(centres).index_add_(0, leaf_of, rows)
        occupied = torch.bincount(leaf_of, minlength=len(centres)) > 0
        centres = torch.where(occupied[:, None], normalize(sums, dim=1), centres)
        before, leaf_of = leaf_of, _nearest_centre(rows, centres)
        if torch.equal(before, leaf_of):
            break
    occupied = torch.bincount(leaf_of, minlength=len(centres)) > 0
    return (occupied.cumsum(0) - 1)[leaf_of], centres[occupied]


def _nearest_centre(rows: Tensor, centres: Tensor) -> Tensor:
    return torch.cat([(chunk @ centres.T).argmax(dim=1) for chunk in torch.split(rows, _CHUNK)])


@torch.no_grad()
def principal_plane(rows: Tensor) -> tuple[NDArray[np.float32], float]:
    """The first two principal components of `rows` (n, width) as coordinates (n, 2), and the share of the variance that they carry.

    Their signs are such that the largest coordinate of each is positive.
    """
    own = rows.cpu().double()
    centred = own - own.mean(dim=0)
    values, vectors = torch.linalg.eigh(centred.T @ centred)
    plane = centred @ vectors[:, -2:].flip(1)
    plane *= plane.gather(0, plane.abs().argmax(dim=0, keepdim=True)).sign()
    share = float(values[-2:].sum() / values.sum().clamp(min=1e-30))
    return plane.float().numpy(), share
