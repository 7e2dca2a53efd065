"""A planted hierarchy of directions is found again, also when there are more directions than leaves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from sae.studies.direction_tree import nested_groups, principal_plane

PARENTS, CHILDREN = 4, 3


def planted(members: int, *, seed: int, width: int = 96, noise: float = 0.8) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Directions of `PARENTS` x `CHILDREN` groups of unequal sizes in random order, with the child and the parent of each."""
    generator = torch.Generator().manual_seed(seed)
    parents = normalize(torch.randn(PARENTS, width, generator=generator), dim=1)
    own = normalize(torch.randn(PARENTS * CHILDREN, width, generator=generator), dim=1)
    centres = normalize(parents.repeat_interleave(CHILDREN, dim=0) + own, dim=1)
    sizes = torch.tensor([members // 2, members, 2 * members] * PARENTS)
    child = torch.arange(len(centres)).repeat_interleave(sizes)
    child = child[torch.randperm(len(child), generator=generator)]
    aside = normalize(torch.randn(len(child), width, generator=generator), dim=1)
    rows = normalize(centres[child] + noise * aside, dim=1)
    return rows, child.numpy(), child.numpy() // CHILDREN


def adjusted_rand(one: np.ndarray, other: np.ndarray) -> float:
    """Hubert and Arabie's adjusted Rand index of two groupings."""

    def pairs(counts: np.ndarray) -> float:
        return float((counts * (counts - 1) / 2).sum())

    table = np.zeros((one.max() + 1, other.max() + 1))
    np.add.at(table, (one, other), 1)
    both, first, second = pairs(table), pairs(table.sum(axis=1)), pairs(table.sum(axis=0))
    expected = first * second / pairs(np.array([len(one)]))
    return (both - expected) / ((first + second) / 2 - expected)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("members", [12, 150], ids=["each direction a leaf", "leaves by k-means"])
def test_a_planted_hierarchy_is_found(members: int, seed: int) -> None:
    rows, child, parent = planted(members, seed=seed)
    base, top = nested_groups(rows, [PARENTS * CHILDREN, PARENTS], seed)
    assert adjusted_rand(base, child) >= 0.9
    assert adjusted_rand(top, parent) >= 0.9
    assert len({(b, t) for b, t in zip(base, top, strict=True)}) == len(set(base)), "levels are nested"


def test_random_directions_have_no_hierarchy_to_find() -> None:
    _, child, _ = planted(12, seed=0)
    rows = normalize(torch.randn(len(child), 96, generator=torch.Generator().manual_seed(9)), dim=1)
    assert adjusted_rand(nested_groups(rows, [PARENTS * CHILDREN], 0)[0], child) < 0.1


@pytest.mark.parametrize("n", [1, 2])
def test_fewer_directions_than_groups_are_no_error(n: int) -> None:
    labels = nested_groups(torch.eye(4)[:n], [5, 2], 0)
    assert labels.shape == (2, n)
    assert len(set(labels[0])) == n


def test_the_plane_is_that_of_the_largest_variance() -> None:
    generator = torch.Generator().manual_seed(0)
    spread = torch.tensor([5.0, 3.0, 0.1, 0.1])
    turned = torch.linalg.qr(torch.randn(4, 4, generator=generator))[0]
    at = torch.randn(500, 4, generator=generator) * spread
    plane, share = principal_plane(at @ turned)
    assert share > 0.99
    centred = (at - at.mean(dim=0)).numpy()
    for axis in range(2):
        assert abs(np.corrcoef(plane[:, axis], centred[:, axis])[0, 1]) > 0.99
    assert (plane[np.abs(plane).argmax(axis=0), [0, 1]] > 0).all()
