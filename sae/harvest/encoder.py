"""From what a forward pass leaves at the hook points to the activations of chosen units, block by block.

Nothing of the width of a dictionary is ever held for a whole batch: relu and jumprelu compute the chosen features, a few at a
time; topk and groupmax have to compute all, and do so for a few tokens at a time.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from sae.dictionary import Dictionary
from sae.harvest.activation_blocks import Dense, MakeBlock, Sparse

_DENSE_ELEMENTS = {"cpu": 1 << 20, "cuda": 1 << 26}
"""Activations in one dense block: few enough for a CPU's cache, many enough to occupy a GPU."""
_TILE_ELEMENTS = {"cpu": 1 << 24, "cuda": 1 << 28}
"""Pre-activations from which topk and groupmax choose at a time."""
_TILE_TOKENS = 64
"""Fewest tokens whose pre-activations are computed together, however wide the dictionary."""
_SPARSE_UNITS = 4096
"""Units in a sparse block."""
_CHUNK = 16
"""Pre-activations of a token whose maximum is looked at before they are, where the k largest are wanted."""


class FeatureEncoder:
    """Computes the activations, `f_i * ||W_dec_i||`, of chosen features; feature `features[j]` is unit `units[j]`.

    `rounded`: a topk dictionary's k features are chosen among half as many again that a product in bfloat16 lists. For inputs that
    are no more exact than that; activations themselves are float32 always.
    """

    def __init__(
        self, dictionary: Dictionary, features: Sequence[int], units: Tensor, *, rounded: bool = False
    ) -> None:
        self._dictionary, self._units = dictionary, units
        device, chosen = units.device, torch.tensor(features, dtype=torch.int64)
        self._selects = dictionary.activation in ("topk", "groupmax")
        rows = dictionary.take(None if self._selects else chosen, device)
        self._norm = rows.decoder_norm
        if self._selects:
            self._W_enc, self._b_enc = rows.W_enc, rows.b_enc
            self._shortlist = rounded and dictionary.activation == "topk"
            if self._shortlist:
                # The bias as one more dimension, of which every input has 1.
                self._rounded = torch.cat([rows.W_enc, rows.b_enc.unsqueeze(1)], dim=1).bfloat16()
            self._number = torch.full((dictionary.d_sae,), -1, device=device)
            self._number[chosen.to(device)] = torch.arange(len(features), device=device)
        else:
            # Scaling rows by a positive number scales activations, whatever the threshold.
            self._W_enc, self._b_enc = rows.W_enc * rows.decoder_norm.unsqueeze(1), rows.b_enc * rows.decoder_norm
            floor = torch.zeros_like(self._b_enc) if rows.threshold is None else rows.threshold
            self._floor = floor * rows.decoder_norm

    def blocks(self, x: Tensor, counted: Tensor) -> Iterator[MakeBlock]:
        """Blocks, yet to be computed, of activations at the tokens of x (N, d_in), of which `counted` (N,) are those that may be sampled."""
        if not len(self._units):
            return
        x = self._dictionary.prepare(x).float()
        yield from self._selected(x, counted) if self._selects else self._rows(x, counted)

    def _rows(self, x: Tensor, counted: Tensor) -> Iterator[MakeBlock]:
        size = _rows_a_block(x)
        for start in range(0, len(self._units), size):
            yield partial(self._dense, slice(start, start + size), x, counted)

    def _dense(self, part: slice, x: Tensor, counted: Tensor) -> Dense:
        z = torch.addmm(self._b_enc[part].unsqueeze(1), self._W_enc[part], x.T)
        return Dense(self._units[part], z, self._floor[part], counted)

    def _selected(self, x: Tensor, counted: Tensor) -> Iterator[MakeBlock]:
        keys, values = self._active(x)
        edges = torch.arange(0, len(self._units) + _SPARSE_UNITS, _SPARSE_UNITS, device=x.device)
        cuts = torch.searchsorted(keys, edges * len(x)).tolist()
        for start, low, high in zip(edges.tolist(), cuts, cuts[1:], strict=False):
            units = self._units[start : start + _SPARSE_UNITS]
            yield partial(Sparse, units, keys[low:high] - start * len(x), values[low:high], counted)

    def _active(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Active events of the chosen features: `position in units * N + column`, ascending, and activation."""
        tokens = max(_TILE_TOKENS, _TILE_ELEMENTS.get(x.device.type, 1 << 24) // len(self._W_enc))
        kind = torch.bfloat16 if self._shortlist else torch.float32
        # One tile for all: fresh memory costs a CPU a tenth of the product that is written to it.
        tile = torch.empty((min(tokens, len(x)), len(self._W_enc)), dtype=kind, device=x.device)
        keys, values = [], []
        for start in range(0, len(x), tokens):
            value, feature = self._largest(x[start : start + tokens], tile)
            value, number = value * self._norm[feature], self._number[feature]
            row, which = ((value > 0) & (number >= 0)).nonzero(as_tuple=True)
            keys.append(number[row, which] * len(x) + row + start)
            values.append(value[row, which])
        key, order = torch.cat(keys).sort()
        return key, torch.cat(values)[order]

    def _largest(self, x: Tensor, tile: Tensor) -> tuple[Tensor, Tensor]:
        """Values and indices, each (n, k), of the features that rows of x (n, d_in) activate; `tile` is written over."""
        z, k = tile[: len(x)], self._dictionary.k or 0
        if not self._shortlist:
            torch.addmm(self._b_enc, x, self._W_enc.T, out=z)
            if self._dictionary.activation == "groupmax":
                return self._dictionary.largest(z)
            feature = top(z, k)
            return z.gather(1, feature).relu_(), feature
        x_one = torch.cat([x, torch.ones_like(x[:, :1])], dim=1).bfloat16()
        torch.mm(x_one, self._rounded.T, out=z)
        feature = top(z, min(len(self._W_enc), k + max(16, k // 2)))
        exact = _products(x, self._W_enc, feature) + self._b_enc[feature]
        value, place = exact.topk(k, dim=1, sorted=False)
        return value.relu_(), feature.gather(1, place)


def top(z: Tensor, k: int) -> Tensor:
    """Indices (n, k) of the k largest of each row of z (n, d), in no order. They are all within the k chunks of largest maximum."""
    n, d = z.shape
    if d % _CHUNK or d < 2 * k * _CHUNK:
        return z.topk(k, dim=1, sorted=False).indices
    # A chunk's columns stand d / _CHUNK apart, so that whole rows are compared.
    chunk = z.view(n, _CHUNK, -1).amax(dim=1).topk(k, dim=1, sorted=False).indices
    column = (chunk.unsqueeze(2) + torch.arange(0, d, d // _CHUNK, device=z.device)).flatten(1)
    return column.gather(1, z.gather(1, column).topk(k, dim=1, sorted=False).indices)


def _products(x: Tensor, W: Tensor, feature: Tensor) -> Tensor:
    """x (n, d_in) times those rows of W that `feature` (n, m) names, (n, m)."""
    if x.device.type != "cpu":
        return torch.bmm(W.index_select(0, feature.flatten()).view(*feature.shape, -1), x.unsqueeze(2)).squeeze(2)
    # Six times faster on a CPU, for no row is copied.
    rows = torch.arange(0, feature.numel() + 1, feature.shape[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls its sparse matrices a beta
        wanted = torch.sparse_csr_tensor(
            rows, feature.flatten(), x.new_zeros(feature.numel()), (len(x), len(W)), check_invariants=False
        )
        products: Tensor = torch.sparse.sampled_addmm(wanted, x, W.T, beta=0.0)
    return products.values().view(feature.shape)


class NeuronEncoder:
    """Reads the activations, `relu(sign * m_j)`, of chosen signed neurons; `neurons[j]` with `signs[j]` is unit `units[j]`."""

    def __init__(self, neurons: Sequence[int], signs: Sequence[float], units: Tensor) -> None:
        device, chosen = units.device, torch.tensor(neurons, dtype=torch.int64)
        order = chosen.argsort(stable=True)
        self._units = units[order.to(device)]
        self._neurons = chosen[order].to(device)
        self._signs = torch.tensor(signs)[order].to(device)

    def blocks(self, m: Tensor, counted: Tensor) -> Iterator[MakeBlock]:
        """Blocks, yet to be computed, of activations at the tokens of m (N, n_mlp), of which `counted` (N,) are those that may be sampled."""
        size = _rows_a_block(m)
        for start in range(0, len(self._units), size):
            yield partial(self._dense, slice(start, start + size), m, counted)

    def _dense(self, part: slice, m: Tensor, counted: Tensor) -> Dense:
        # Both signs of a neuron stand side by side, so that its column is read once.
        distinct, row = torch.unique_consecutive(self._neurons[part], return_inverse=True)
        values = m.index_select(1, distinct).T.contiguous().index_select(0, row)
        values *= self._signs[part].unsqueeze(1)
        return Dense(self._units[part], values, torch.zeros(len(row), device=m.device), counted)


def _rows_a_block(x: Tensor) -> int:
    return max(16, _DENSE_ELEMENTS.get(x.device.type, 1 << 20) // max(1, len(x)))
