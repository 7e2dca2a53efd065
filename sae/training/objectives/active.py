"""Products with the few activations of a batch that are not zero.

A matrix S (n, d_sae) of activations, or of their gradients, enters a training step in three products: `S @ W`, `S.T @ x`, and
entries of `g @ W.T` where S has some. With 32 of 4,096 entries a row each of them costs a few hundredths of the
dense product. Early in an L1 training half of the entries are there; `active` then returns `Dense`, the same
operations on whole matrices.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

DENSE_SHARE = 0.08
"""Share of entries above which whole products are the faster ones: measured on two CPU cores at d 512, d_sae 4,096."""

Product = Callable[[Tensor, Tensor], Tensor]
Back = Callable[[Tensor], Tensor]


class Sparse:
    """Places (row, column) in a matrix (n_rows, d_sae), rows ascending; values at them are vectors of the same length."""

    def __init__(self, rows: Tensor, columns: Tensor, n_rows: int, d_sae: int) -> None:
        self.rows, self.columns, self.n_rows, self.d_sae = rows, columns, n_rows, d_sae
        self._starts = _starts(rows, n_rows)
        self._by_column = torch.argsort(columns.int(), stable=True)  # half the passes of a 64-bit sort
        self._rows_by_column = rows[self._by_column]
        self._column_starts = _starts(columns, d_sae)

    @classmethod
    def at(cls, flat: Tensor, n_rows: int, d_sae: int) -> Sparse:
        """Places given as ascending positions in the flattened matrix."""
        rows = flat // d_sae
        return cls(rows, flat - rows * d_sae, n_rows, d_sae)

    def pick(self, z: Tensor) -> Tensor:
        """The values of a whole matrix (n_rows, d_sae), which is taken to repeat where it has fewer rows."""
        return z.flatten()[self.rows % len(z) * self.d_sae + self.columns]

    def plus(self, values: Tensor, v: Tensor) -> Tensor:
        """The values, to which each column's entry of v (d_sae,) was added in place."""
        return values.add_(v[self.columns])

    def ones(self) -> Tensor:
        """A one at each place."""
        return torch.ones(len(self.columns), device=self.columns.device)

    def times(self, values: Tensor, W: Tensor) -> tuple[Tensor, Back]:
        """`S @ W` (n_rows, d), and what turns a gradient g of it into that of the values: `g @ W.T` at the places."""
        with torch.enable_grad():
            values = values.detach().requires_grad_()
            times = embedding_bag(self.columns, W, self._starts, mode="sum", per_sample_weights=values)
        return times.detach(), lambda g: torch.autograd.grad(times, values, g)[0]

    def transposed(self, values: Tensor, x: Tensor) -> Tensor:
        """`S.T @ x` (d_sae, d). Where x has fewer rows than S, it is taken to repeat."""
        rows, values = self._rows_by_column, values[self._by_column]
        rows = rows if len(x) == self.n_rows else rows % len(x)
        return embedding_bag(rows, x, self._column_starts, mode="sum", per_sample_weights=values)

    def column_sums(self, values: Tensor) -> Tensor:
        """`S.sum(dim=0)`."""
        return self.transposed(values, torch.ones(1, 1, device=values.device))[:, 0]

    def fired(self) -> Tensor:
        """Which columns have a place, bool (d_sae,)."""
        return torch.zeros(self.d_sae, dtype=torch.bool, device=self.rows.device).index_fill_(0, self.columns, True)


class Dense:
    """The same operations on whole matrices, in which values stand where `mask` (n_rows, d_sae) is 1 and zeros elsewhere."""

    def __init__(self, mask: Tensor, product: Product) -> None:
        self.mask, self.product = mask.float(), product  # a bool would be turned to float at each use

    def pick(self, z: Tensor) -> Tensor:
        return z * self.mask

    def plus(self, values: Tensor, v: Tensor) -> Tensor:
        return values.addcmul_(self.mask, v)

    def ones(self) -> Tensor:
        return self.mask

    def times(self, values: Tensor, W: Tensor) -> tuple[Tensor, Back]:
        return self.product(values, W), lambda g: self.product(g, W.T).mul_(self.mask)

    def transposed(self, values: Tensor, x: Tensor) -> Tensor:
        return self.product(values.T, x)

    def column_sums(self, values: Tensor) -> Tensor:
        return values.sum(dim=0)

    def fired(self) -> Tensor:
        return self.mask.amax(dim=0) > 0


def active(mask: Tensor, product: Product) -> Sparse | Dense:
    """The places where a bool matrix (n_rows, d_sae) is true."""
    if torch.count_nonzero(mask).item() > DENSE_SHARE * mask.numel():
        return Dense(mask, product)
    return Sparse.at(mask.flatten().nonzero()[:, 0], *mask.shape)


def largest(z: Tensor, count: int, likely: float = 0.0) -> Tensor:
    """Ascending places in flattened z of its `count` largest positive values; equal values at the edge are all kept.

    Looking only above `likely` spares most of the search; where that leaves too few, all positive values are looked at.
    """
    flat = z.flatten()
    places = (flat > likely).nonzero()[:, 0]
    if len(places) < count and likely > 0:
        places = (flat > 0).nonzero()[:, 0]
    values = flat[places]
    if len(places) > count:
        places = places[values >= values.topk(count, sorted=False).values.min()]
    return places


def _starts(ascending_or_not: Tensor, n: int) -> Tensor:
    """Where each of the n groups starts once the places are sorted by group."""
    starts = torch.bincount(ascending_or_not, minlength=n).cumsum(0).roll(1)
    starts[0] = 0
    return starts
