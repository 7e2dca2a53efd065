"""Features of one dictionary matched with those of another: by the cosine of decoder rows, and by firing at the same tokens.

The pair that is compared is a feature of one dictionary with its nearest in the other by cosine. Paulo and Belrose (2025, "Sparse
Autoencoders Trained on the Same Data Learn Different Features") call a feature shared above a cosine of 0.7. Mutual nearest features
stand here for their assignment, which takes time cubic in the number of features. Pairs are compared `ELEMENTS` at a time; beside
them, memory is that of the firings and of a float32 copy of one dictionary's decoder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn.functional import normalize

from sae.dictionary import Dictionary
from sae.studies.firing import Firings

ELEMENTS = 1 << 23
"""Pairs of features that are compared at a time, in about 250 MB."""
FEWEST = 10
"""Tokens at which a feature has to fire before co-activation says anything about it."""
TOGETHER = 0.1
"""Twins that both fire at `FEWEST` tokens have at least this Jaccard index."""
_CHANCE_FEATURES = 1024

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


class Pairs(NamedTuple):
    """Features `start` on of one dictionary with all those of another, (n, features): cosines of decoder rows, and the number of
    tokens at which both fire."""

    start: int
    cosine: Floats
    joint: npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Side:
    """A dictionary with its firings."""

    dictionary: Dictionary
    firings: Firings

    @property
    def fires(self) -> Bools:
        """Mask of the features that fire at `FEWEST` tokens or more (d_sae,)."""
        return self.firings.counts >= FEWEST


@dataclass(frozen=True, eq=False)
class Matches:
    """For each feature of one dictionary, all (d_sae,): the `nearest` in another by `cosine`, the `jaccard` index of their firing,
    NaN if one of them fires at fewer than `FEWEST` tokens, whether each is the other's nearest by cosine (`mutual`), and whether each
    is the other's nearest by Jaccard index (`by_firing`)."""

    nearest: npt.NDArray[np.int64]
    cosine: Floats
    jaccard: Floats
    mutual: Bools
    by_firing: Bools

    def twins(self, cosine: float) -> Bools:
        """Mask of the features that are found again: mutual nearest, with at least this cosine, and not at other tokens."""
        apart = self.jaccard < TOGETHER  # False for NaN
        return self.mutual & (self.cosine >= cosine) & ~apart

    @property
    def similarity(self) -> Floats:
        """The smaller of cosine and Jaccard index of each feature with its nearest; the cosine if there is no index."""
        return np.fmin(self.cosine, self.jaccard)


def pairs(one: Side, other: Side) -> Iterator[Pairs]:
    """All pairs of features of two dictionaries, a chunk of the first one's features at a time."""
    columns = normalize(other.dictionary.W_dec.float(), dim=1).T
    fired = _fired(one.firings).T.tocsr(), _fired(other.firings)
    size = max(1, ELEMENTS // other.dictionary.d_sae)
    for start in range(0, one.dictionary.d_sae, size):
        rows = slice(start, start + size)
        cosine = normalize(one.dictionary.W_dec[rows].float(), dim=1) @ columns
        yield Pairs(start, cosine.cpu().numpy(), (fired[0][rows] @ fired[1]).toarray())


@torch.inference_mode()
def match(one: Side, other: Side) -> tuple[Matches, Matches]:
    """Each dictionary's features matched with the other's. Both read the same tokens and write to the same space."""
    counts = one.firings.counts, other.firings.counts
    by_cosine, by_jaccard = _Nearest(len(counts[0]), len(counts[1])), _Nearest(len(counts[0]), len(counts[1]))
    for chunk in pairs(one, other):
        rows = slice(chunk.start, chunk.start + len(chunk.cosine))
        either = counts[0][rows, None] + counts[1][None] - chunk.joint
        jaccard = (chunk.joint / np.maximum(either, 1)).astype(np.float32)
        by_cosine.add(chunk.start, chunk.cosine, jaccard)
        by_jaccard.add(chunk.start, jaccard, jaccard)

    def of_side(side: int) -> Matches:
        nearest = by_cosine.nearest[side]
        known = (counts[side] >= FEWEST) & (counts[1 - side][nearest] >= FEWEST)
        return Matches(
            nearest=nearest,
            cosine=by_cosine.value[side],
            jaccard=np.where(known, by_cosine.beside[side], np.nan).astype(np.float32),
            mutual=by_cosine.mutual(side),
            by_firing=by_jaccard.mutual(side) & (by_jaccard.nearest[side] == nearest),
        )

    return of_side(0), of_side(1)


class _Nearest:
    """The nearest of both sides by a value that is added chunk by chunk, with that `value`, and another of the same pair `beside`."""

    def __init__(self, n: int, m: int) -> None:
        self.nearest = np.zeros(n, dtype=np.int64), np.zeros(m, dtype=np.int64)
        self.value = np.full(n, -2, dtype=np.float32), np.full(m, -2, dtype=np.float32)
        self.beside = np.zeros(n, dtype=np.float32), np.zeros(m, dtype=np.float32)

    def add(self, start: int, values: Floats, beside: Floats) -> None:
        rows, columns = np.arange(len(values)), np.arange(values.shape[1])
        best = values.argmax(axis=1)
        self._put(0, start + rows, best, values[rows, best], beside[rows, best])
        best = values.argmax(axis=0)
        better = values[best, columns] > self.value[1]
        best, columns = best[better], columns[better]
        self._put(1, columns, start + best, values[best, columns], beside[best, columns])

    def _put(
        self, side: int, at: npt.NDArray[np.int64], nearest: npt.NDArray[np.int64], value: Floats, beside: Floats
    ) -> None:
        self.nearest[side][at], self.value[side][at], self.beside[side][at] = nearest, value, beside

    def mutual(self, side: int) -> Bools:
        """Mask of the features that are the nearest of their nearest."""
        there, back = self.nearest[side], self.nearest[1 - side]
        mask: Bools = back[there] == np.arange(len(there))
        return mask


@torch.inference_mode()
def chance_cosine(one: Dictionary, other: Dictionary, seed: int) -> float:
    """The cosine that 1% of features exceed with their nearest in the other dictionary by chance: after a random rotation.

    From at most 1,024 features. A rotation keeps all angles within a dictionary.
    """
    generator = np.random.default_rng([seed, 17])
    drawn = generator.permutation(one.d_sae)[:_CHANCE_FEATURES]
    rows = normalize(one.W_dec[torch.as_tensor(drawn)].float(), dim=1)
    turn = torch.linalg.qr(torch.as_tensor(generator.standard_normal((one.d_out, one.d_out)), dtype=torch.float32))[0]
    turned, best = rows @ turn.to(rows), torch.full((len(rows),), -1.0, device=rows.device)
    for chunk in torch.split(other.W_dec, max(1, ELEMENTS // len(rows))):
        best = torch.maximum(best, (turned @ normalize(chunk.float(), dim=1).T).amax(dim=1))
    return float(best.quantile(0.99))


def stability(matches: Sequence[Matches], cosine: float) -> tuple[npt.NDArray[np.int64], Floats]:
    """In how many of the other dictionaries each feature is found again, and its mean similarity with its nearest there."""
    found = np.stack([each.twins(cosine) for each in matches]).sum(axis=0)
    return found, np.stack([each.similarity for each in matches]).mean(axis=0)


def _fired(firings: Firings) -> csr_array:
    """Ones (tokens, d_sae) where a feature fires."""
    ones = np.ones(len(firings.feature), dtype=np.int32)
    return csr_array((ones, firings.feature, firings.first), shape=(firings.n_tokens, firings.d_sae))


def rows_of(dictionary: Dictionary, features: npt.NDArray[np.integer]) -> Tensor:
    """Decoder rows of norm 1, float32 (n, d_out)."""
    index = torch.as_tensor(np.asarray(features, dtype=np.int64), device=dictionary.W_dec.device)
    return normalize(dictionary.W_dec.index_select(0, index).float(), dim=1)
