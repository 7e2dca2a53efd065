"""Products with a sparse matrix of activations.

A matrix S (n, d_sae) of activations, or of their gradients, occurs in three products of a training step: `S @ W`, `S.T @ x`, and the
entries of `g @ W.T` at which S has entries. With 32 of 4,096 entries per row, each costs a few hundredths of the dense product. Early
in an L1 training half of the entries are active; `active_places` then returns `Dense`, the same operations on whole matrices.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

DENSE_SHARE = 0.08
"""Share of entries above which dense products are faster, measured on two CPU cores with d = 512 and d_sae = 4,096."""

Product = Callable[[Tensor, Tensor], Tensor]
"""A dense product a @ b."""
Backward = Callable[[Tensor], Tensor]
"""Turns the gradient of a product into that of its values."""


class Sparse:
    """Places (row, column) in a matrix (n_rows, d_sae), rows ascending. The values at them are a vector of the same length."""

    def __init__(self, rows: Tensor, columns: Tensor, n_rows: int, d_sae: int) -> None:
        self.rows, self.columns, self.n_rows, self.d_sae = rows, columns, n_rows, d_sae
        self._starts = _starts(rows, n_rows)
        self._by_column = torch.argsort(
            columns.int(), stable=True
        )  # a 32-bit sort takes half the passes of a 64-bit one
        self._rows_by_column = rows[self._by_column]
        self._column_starts = _starts(columns, d_sae)

    @classmethod
    def at(cls, flat: Tensor, n_rows: int, d_sae: int) -> Sparse:
        """Places given as ascending indices into the flattened matrix."""
        rows = flat // d_sae
        return cls(rows, flat - rows * d_sae, n_rows, d_sae)

    def pick(self, z: Tensor) -> Tensor:
        """The values of a whole matrix z (n_rows, d_sae) at the places. A z with fewer rows is repeated."""
        return z.flatten()[self.rows % len(z) * self.d_sae + self.columns]

    def plus(self, values: Tensor, v: Tensor) -> Tensor:
        """Add to each value its column's entry of v (d_sae,), in place."""
        return values.add_(v[self.columns])

    def ones(self) -> Tensor:
        """Values of 1 at all places."""
        return torch.ones(len(self.columns), device=self.columns.device)

    def times(self, values: Tensor, W: Tensor) -> tuple[Tensor, Backward]:
        """`S @ W` (n_rows, d), and its backward pass, which turns a gradient g of it into that of the values: `g @ W.T` at the
        places."""
        with torch.enable_grad():
            values = values.detach().requires_grad_()
            product = embedding_bag(self.columns, W, self._starts, mode="sum", per_sample_weights=values)
        return product.detach(), lambda g: torch.autograd.grad(product, values, g)[0]

    def transposed(self, values: Tensor, x: Tensor) -> Tensor:
        """`S.T @ x` (d_sae, d). An x with fewer rows than S is repeated."""
        rows, values = self._rows_by_column, values[self._by_column]
        rows = rows if len(x) == self.n_rows else rows % len(x)
        return embedding_bag(rows, x, self._column_starts, mode="sum", per_sample_weights=values)

    def column_sums(self, values: Tensor) -> Tensor:
        """`S.sum(dim=0)`."""
        return self.transposed(values, torch.ones(1, 1, device=values.device))[:, 0]

    def fired(self) -> Tensor:
        """Mask (d_sae,) of the columns with a place."""
        return torch.zeros(self.d_sae, dtype=torch.bool, device=self.rows.device).index_fill_(0, self.columns, True)


class Dense:
    """The operations of `Sparse` on whole matrices, which hold values where `mask` (n_rows, d_sae) is 1 and zeros elsewhere."""

    def __init__(self, mask: Tensor, product: Product) -> None:
        self.mask, self.product = mask.float(), product  # as a float, so that it is not converted at each use

    def pick(self, z: Tensor) -> Tensor:
        return z * self.mask

    def plus(self, values: Tensor, v: Tensor) -> Tensor:
        return values.addcmul_(self.mask, v)

    def ones(self) -> Tensor:
        return self.mask

    def times(self, values: Tensor, W: Tensor) -> tuple[Tensor, Backward]:
        return self.product(values, W), lambda g: self.product(g, W.T).mul_(self.mask)

    def transposed(self, values: Tensor, x: Tensor) -> Tensor:
        return self.product(values.T, x)

    def column_sums(self, values: Tensor) -> Tensor:
        return values.sum(dim=0)

    def fired(self) -> Tensor:
        return self.mask.amax(dim=0) > 0


def active_places(mask: Tensor, product: Product) -> Sparse | Dense:
    """The places at which a mask (n_rows, d_sae) is true."""
    if torch.count_nonzero(mask).item() > DENSE_SHARE * mask.numel():
        return Dense(mask, product)
    return Sparse.at(mask.flatten().nonzero()[:, 0], *mask.shape)


def largest_positive(z: Tensor, count: int, likely: float = 0.0) -> Tensor:
    """Ascending indices into flattened z of its `count` largest positive values; values that equal the smallest of them are kept too.

    Only values above `likely` are searched first, which saves most of the work; if they are too few, all positive values are.
    """
    flat = z.flatten()
    index = (flat > likely).nonzero()[:, 0]
    if len(index) < count and likely > 0:
        index = (flat > 0).nonzero()[:, 0]
    values = flat[index]
    if len(index) > count:
        index = index[values >= values.topk(count, sorted=False).values.min()]
    return index


def _starts(groups: Tensor, n: int) -> Tensor:
    """The start of each of the n groups when places, in any order of their `groups`, are sorted by group."""
    starts = torch.bincount(groups, minlength=n).cumsum(0).roll(1)
    starts[0] = 0
    return starts
