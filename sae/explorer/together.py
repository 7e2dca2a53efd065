"""Features that are active at the same tokens, and neurons whose activations correlate with features', over a sample of the tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix, csr_matrix

FEWEST = 5
"""A feature that is active at fewer tokens of the sample has no list: shares of so few say little."""
_LARGEST = np.finfo(np.float16).max


class Ranked(NamedTuple):
    """Numbers (n, k) of others, the first ones first and -1 where there are no more, and a value of each (n, k)."""

    number: NDArray[np.int64]
    value: NDArray[np.float32]

    def rows(self, first: int, end: int) -> Ranked:
        """The lists from `first` up to `end`."""
        return Ranked(self.number[first:end], self.value[first:end])


@dataclass(frozen=True)
class Active:
    """The activations of F features at S sampled tokens, sparse (S, F)."""

    at_token: csr_matrix
    of_feature: csc_matrix

    @classmethod
    def of(
        cls, token: NDArray[np.int64], feature: NDArray[np.integer], value: NDArray[np.float32], features: int
    ) -> Active:
        """From the ordinal of each event's token, its feature and its activation, (n,) each."""
        tokens, row = np.unique(token, return_inverse=True)
        matrix = csr_matrix((value, (row, feature)), shape=(len(tokens), features))
        return cls(matrix, matrix.tocsc())

    @property
    def tokens(self) -> int:
        """Sampled tokens at which a feature is active."""
        return int(self.at_token.shape[0])


def together(active: Active, first: int, end: int, n: int) -> Ranked:
    """For the features from `first` up to `end`, the `n` others that are active at a larger share of their tokens than at other tokens,
    the largest excess first, and that share."""
    ones = csr_matrix(
        (np.ones(active.at_token.nnz, dtype=np.float32), active.at_token.indices, active.at_token.indptr),
        shape=active.at_token.shape,
    )
    own = active.of_feature[:, first:end]
    own = csc_matrix((np.ones(own.nnz, dtype=np.float32), own.indices, own.indptr), shape=own.shape)
    counts = (own.T.tocsr() @ ones).tocoo()
    row, other = counts.row.astype(np.int64), counts.col.astype(np.int64)
    n_active = np.diff(active.of_feature.indptr)
    share = counts.data / n_active[row + first]
    excess = share - n_active[other] / max(active.tokens, 1)
    kept = (other != row + first) & (excess > 0) & (n_active[row + first] >= FEWEST)
    row, other, share, excess = row[kept], other[kept], share[kept], excess[kept]
    order = np.lexsort((other, -excess, row))
    return _table(row[order], other[order], share[order], end - first, n)


def correlated(
    token: NDArray[np.int64],
    feature: NDArray[np.integer],
    value: NDArray[np.float32],
    neurons_at: NDArray[np.int64],
    neurons: NDArray[np.float16],
    features: int,
    n: int,
) -> Ranked:
    """The `n` neurons of largest absolute correlation with each feature, and the signed correlations.

    `neurons` (S, M) are the values at the tokens `neurons_at` (S,), ascending; events of features at other tokens are left out. A feature that
    is active at fewer than `FEWEST` of them has none.
    """
    row = np.minimum(np.searchsorted(neurons_at, token), max(len(neurons_at) - 1, 0))
    here = neurons_at[row] == token if len(neurons_at) else np.zeros(len(token), dtype=bool)
    active = csr_matrix((value[here], (feature[here], row[here])), shape=(features, len(neurons_at)))
    number = np.full((features, n), -1, dtype=np.int64)
    correlation = np.zeros((features, n), dtype=np.float32)
    if not neurons.size:
        return Ranked(number, correlation)
    # A value beyond float16 counts as its largest. Means in float32 would be off by more than nearly constant values vary.
    centred = neurons.clip(-_LARGEST, _LARGEST).astype(np.float32)
    centred -= centred.mean(axis=0, dtype=np.float64).astype(np.float32)
    length = np.linalg.norm(centred, axis=0)
    centred /= np.where(length > 0, length, 1)
    rest = centred.sum(axis=0, dtype=np.float64)  # that rounding has left
    exact = active.astype(np.float64)
    total = np.asarray(exact.sum(axis=1)).ravel()
    deviation = np.sqrt(np.maximum(exact.multiply(exact).sum(axis=1).A1 - total**2 / len(neurons_at), 0))
    known = np.flatnonzero((np.diff(active.indptr) >= FEWEST) & (deviation > 0))
    most = min(n, neurons.shape[1])
    for chunk in np.array_split(known, max(1, len(known) // 1024)):
        # The neurons' values have a mean of almost 0, so that the features' need not be centred.
        r = active[chunk] @ centred - np.outer(total[chunk] / len(neurons_at), rest)
        r = (r / deviation[chunk, None]).astype(np.float32)
        best = np.argpartition(-np.abs(r), most - 1, axis=1)[:, :most]
        strength = np.take_along_axis(np.abs(r), best, axis=1)
        best = np.take_along_axis(best, np.lexsort([best, -strength], axis=1), axis=1)
        number[chunk, :most] = best
        correlation[chunk, :most] = np.clip(np.take_along_axis(r, best, axis=1), -1, 1)
    return Ranked(number, correlation)


def _table(row: NDArray[np.int64], number: NDArray[np.int64], value: NDArray[np.float64], rows: int, n: int) -> Ranked:
    """The first `n` entries of each row, which stand together."""
    place = np.arange(len(row)) - np.searchsorted(row, row)
    kept = place < n
    numbers = np.full((rows, n), -1, dtype=np.int64)
    values = np.zeros((rows, n), dtype=np.float32)
    numbers[row[kept], place[kept]] = number[kept]
    values[row[kept], place[kept]] = value[kept]
    return Ranked(numbers, values)
