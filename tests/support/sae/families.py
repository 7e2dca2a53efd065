"""Dictionaries and firings whose matches, trees and absorbers are known, without a subject: directions and tokens are drawn."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array

from sae.dictionary import Dictionary
from sae.studies.firing import Firings
from sae.studies.matching import Side

D, TOKENS = 96, 6000


@dataclass
class Growing:
    """A dictionary that is built feature by feature."""

    rng: np.random.Generator
    rows: list[npt.NDArray[np.float64]] = field(default_factory=list)
    tokens: list[npt.NDArray[np.int64]] = field(default_factory=list)

    def add(self, row: npt.NDArray[np.float64], tokens: npt.NDArray[np.int64]) -> int:
        """Add a feature and return its number."""
        self.rows.append(row)
        self.tokens.append(np.unique(tokens))
        return len(self.rows) - 1

    def side(self) -> tuple[Side, npt.NDArray[np.int64]]:
        """The dictionary in a random order, and the new number of each feature."""
        order = self.rng.permutation(len(self.rows))
        place = np.argsort(order)
        dense = np.zeros((TOKENS, len(order)), dtype=np.float32)
        for number, tokens in enumerate(self.tokens):
            dense[tokens, place[number]] = self.rng.uniform(0.5, 2, len(tokens))
        return Side(dictionary(np.stack(self.rows)[order]), firings(dense)), place


def dictionary(rows: npt.NDArray[np.float64]) -> Dictionary:
    W = torch.as_tensor(rows, dtype=torch.float32)
    b = torch.zeros(len(W))
    return Dictionary(
        W_enc=W, b_enc=b, W_dec=W, b_dec=torch.zeros(W.shape[1]), activation="relu", hook_point="resid_post.0"
    )


def firings(dense: npt.NDArray[np.float32]) -> Firings:
    sparse = csr_array(dense)
    return Firings(sparse.indptr.astype(np.int64), sparse.indices.astype(np.int32), sparse.data, dense.shape[1])


def direction(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """A random row of norm 1."""
    row = rng.standard_normal(D)
    unit: npt.NDArray[np.float64] = row / np.linalg.norm(row)
    return unit


def some(rng: np.random.Generator, n: int) -> npt.NDArray[np.int64]:
    """Distinct tokens."""
    return rng.permutation(TOKENS)[:n]


def most(rng: np.random.Generator, tokens: npt.NDArray[np.int64], kept: float = 0.9) -> npt.NDArray[np.int64]:
    """A share of some tokens, and as many others as are left out."""
    chosen = tokens[rng.random(len(tokens)) < kept]
    return np.union1d(chosen, some(rng, len(tokens) - len(chosen)))


def seeds(n: int, seed: int, *, true: int = 64, made: int = 64) -> list[tuple[Side, npt.NDArray[np.bool_]]]:
    """Dictionaries of `true` shared features, each with noise of its own, and `made` features that only one of them has; with a mask of
    the shared ones."""
    rng = np.random.default_rng(seed)
    shared = [(direction(rng), some(rng, int(rng.integers(30, 200)))) for _ in range(true)]
    built = []
    for _ in range(n):
        growing = Growing(rng)
        for row, tokens in shared:
            growing.add(row + 0.6 * direction(rng), most(rng, tokens, 0.8))
        for _ in range(made):
            growing.add(direction(rng), some(rng, int(rng.integers(30, 200))))
        side, place = growing.side()
        mask = np.zeros(true + made, dtype=np.bool_)
        mask[place[:true]] = True
        built.append((side, mask))
    return built


def split(seed: int, *, families: int = 40) -> tuple[Side, Side, dict[int, set[int]]]:
    """A small dictionary, a large one, and the children of each parent that has any: 0 to 5, which share its tokens.

    Some features of both are dense, and some of the large one are new.
    """
    rng = np.random.default_rng(seed)
    small, large = Growing(rng), Growing(rng)
    truth: dict[int, list[int]] = {}
    for family in range(families):
        row, tokens = direction(rng), some(rng, int(rng.integers(150, 400)))
        parent = small.add(row, tokens)
        n = family % 6
        for part in np.array_split(tokens, n) if n else []:
            own = 0.3 if n == 1 else float(rng.uniform(0.6, 1.3))
            truth.setdefault(parent, []).append(large.add(row + own * direction(rng), most(rng, part)))
    for growing in (small, large):
        for _ in range(4):
            growing.add(direction(rng), some(rng, 3 * TOKENS // 4))
    for _ in range(20):
        large.add(direction(rng), some(rng, 100))
    (one, first), (other, second) = small.side(), large.side()
    return one, other, {int(first[p]): {int(second[c]) for c in children} for p, children in truth.items()}


@dataclass(frozen=True)
class Absorbed:
    """A dictionary with parents that 0 to 5 of their children absorb, another one without absorption, the parents' numbers in both, and
    the true pairs of a parent and an absorber."""

    side: Side
    other: Side
    parents: tuple[tuple[int, int], ...]
    truth: set[tuple[int, int]]


def absorbed(seed: int, *, families: int = 36) -> Absorbed:
    """Each parent has as many children that fire beside it as a control, and a neighbour of a similar direction at other tokens."""
    rng = np.random.default_rng(seed)
    whole, growing = Growing(rng), Growing(rng)
    parents, truth = [], []
    for family in range(families):
        row, tokens = direction(rng), some(rng, 400)
        parts = np.array_split(tokens, 12)  # 5 absorbed, 5 beside the parent, 2 of nothing else
        n = family % 6
        silent = np.concatenate([*parts[:n], np.zeros(0, dtype=np.int64)])
        parent = growing.add(row + 0.3 * direction(rng), np.setdiff1d(most(rng, tokens, 0.97), silent))
        parents.append((parent, whole.add(row + 0.3 * direction(rng), most(rng, tokens, 0.97))))
        for part in parts[:n]:
            truth.append((parent, growing.add(row + float(rng.uniform(0.7, 1.4)) * direction(rng), most(rng, part))))
        for part in parts[5 : 5 + n]:
            growing.add(row + direction(rng), most(rng, part))
        growing.add(row + 1.2 * direction(rng), some(rng, 60))
    for _ in range(40):
        growing.add(direction(rng), some(rng, int(rng.integers(20, 1500))))
    (side, place), (other, there) = growing.side(), whole.side()
    return Absorbed(
        side, other,
        tuple((int(place[p]), int(there[w])) for p, w in parents),
        {(int(place[p]), int(place[a])) for p, a in truth},
    )  # fmt: skip
