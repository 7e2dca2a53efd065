"""Activations of chosen units from the values that a forward pass leaves at the hook points, block by block.

Nothing as wide as a dictionary is ever held for a whole batch: relu and jumprelu compute the chosen features, a few at a time; topk,
groupmax and encoders that are called have to compute all features, and do so for a few tokens at a time.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from sae.dictionary import Dictionary
from sae.harvest.activation_blocks import DenseBlock, MakeBlock, SparseBlock

_DENSE_ELEMENTS = {"cpu": 1 << 20, "cuda": 1 << 26}
"""Activations in one dense block: few enough for a CPU's cache, many enough to occupy a GPU."""
_TILE_ELEMENTS = {"cpu": 1 << 24, "cuda": 1 << 28}
"""Pre-activations from which topk and groupmax choose at a time."""
_TILE_TOKENS = 64
"""Fewest tokens whose pre-activations are computed together, however wide the dictionary."""
_SPARSE_UNITS = 4096
"""Units in a sparse block."""
_CHUNK = 16
"""Pre-activations of a token in a chunk, whose maximum is computed first when the k largest are searched for."""


class FeatureEncoder:
    """Computes the activations, `f_i * ||W_dec_i||`, of chosen features. Feature `features[j]` is unit `units[j]`.

    `rounded` speeds up topk: a product in bfloat16 lists half as many features again as are needed, and the k active ones are chosen
    among these in float32. It is for inputs that are no more exact than bfloat16. Activations themselves are always float32.
    """

    def __init__(
        self, dictionary: Dictionary, features: Sequence[int], units: Tensor, *, rounded: bool = False
    ) -> None:
        self._dictionary, self._units = dictionary, units
        device, chosen = units.device, torch.tensor(features, dtype=torch.int64)
        self._competing = dictionary.activation in ("topk", "groupmax")
        self._sparse = self._competing or dictionary.encoder is not None
        self._features = chosen.to(device)
        rows = dictionary.feature_rows(None if self._competing else chosen, device)
        self._norm = rows.decoder_norm
        if self._competing:
            self._W_enc, self._b_enc = rows.W_enc, rows.b_enc
            self._shortlist = rounded and dictionary.activation == "topk"
            if self._shortlist:
                # The bias becomes one more dimension, in which every input is 1.
                self._rounded = torch.cat([rows.W_enc, rows.b_enc.unsqueeze(1)], dim=1).bfloat16()
            self._number = torch.full((dictionary.d_sae,), -1, device=device)
            self._number[self._features] = torch.arange(len(features), device=device)
        elif dictionary.encoder is None:
            # ||W_dec_i|| is folded into the encoder: a positive factor c turns act(z) with threshold t into c act(z) with c t.
            self._W_enc, self._b_enc = rows.W_enc * rows.decoder_norm.unsqueeze(1), rows.b_enc * rows.decoder_norm
            floor = torch.zeros_like(self._b_enc) if rows.threshold is None else rows.threshold
            self._floor = floor * rows.decoder_norm

    def blocks(self, x: Tensor, counted: Tensor) -> Iterator[MakeBlock]:
        """Blocks, computed when called, of activations at the N tokens of x (N, d_in). `counted` (N,) marks those that may be
        sampled."""
        if not len(self._units):
            return
        x = self._dictionary.prepare(x).float()
        yield from self._sparse_blocks(x, counted) if self._sparse else self._dense_blocks(x, counted)

    def _dense_blocks(self, x: Tensor, counted: Tensor) -> Iterator[MakeBlock]:
        size = _rows_per_block(x)
        for start in range(0, len(self._units), size):
            yield partial(self._dense, slice(start, start + size), x, counted)

    def _dense(self, part: slice, x: Tensor, counted: Tensor) -> DenseBlock:
        z = torch.addmm(self._b_enc[part].unsqueeze(1), self._W_enc[part], x.T)
        return DenseBlock(self._units[part], z, self._floor[part], counted)

    def _sparse_blocks(self, x: Tensor, counted: Tensor) -> Iterator[MakeBlock]:
        keys, values = self._active(x) if self._competing else self._called(x)
        edges = torch.arange(0, len(self._units) + _SPARSE_UNITS, _SPARSE_UNITS, device=x.device)
        cuts = torch.searchsorted(keys, edges * len(x)).tolist()
        for start, low, high in zip(edges.tolist(), cuts, cuts[1:], strict=False):
            units = self._units[start : start + _SPARSE_UNITS]
            yield partial(SparseBlock, units, keys[low:high] - start * len(x), values[low:high], counted)

    def _active(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Active events of the chosen features: keys `index in units * N + column`, ascending, and activations."""
        tokens = max(_TILE_TOKENS, _TILE_ELEMENTS.get(x.device.type, 1 << 24) // len(self._W_enc))
        dtype = torch.bfloat16 if self._shortlist else torch.float32
        # One tile, written over for each part of the tokens: fresh memory costs a CPU a tenth of the product written to it.
        tile = torch.empty((min(tokens, len(x)), len(self._W_enc)), dtype=dtype, device=x.device)
        keys, values = [], []
        for start in range(0, len(x), tokens):
            value, feature = self._largest(x[start : start + tokens], tile)
            value, number = value * self._norm[feature], self._number[feature]
            row, rank = ((value > 0) & (number >= 0)).nonzero(as_tuple=True)
            keys.append(number[row, rank] * len(x) + row + start)
            values.append(value[row, rank])
        key, order = torch.cat(keys).sort()
        return key, torch.cat(values)[order]

    def _called(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """As `_active`, by the encoder that is called."""
        encoder, dictionary = self._dictionary.encoder, self._dictionary
        assert encoder is not None
        tokens = max(_TILE_TOKENS, _TILE_ELEMENTS.get(x.device.type, 1 << 24) // dictionary.d_sae)
        keys, values = [], []
        for start in range(0, len(x), tokens):
            f = encoder(x[start : start + tokens]).index_select(1, self._features)
            row, number = (f > 0).nonzero(as_tuple=True)
            keys.append(number * len(x) + row + start)
            values.append(f[row, number] * self._norm[number])
        key, order = torch.cat(keys).sort()
        return key, torch.cat(values)[order]

    def _largest(self, x: Tensor, tile: Tensor) -> tuple[Tensor, Tensor]:
        """Values and indices, each (n, k), of the features that are active at rows of x (n, d_in). Overwrites `tile`."""
        z, k = tile[: len(x)], self._dictionary.k or 0
        if not self._shortlist:
            torch.addmm(self._b_enc, x, self._W_enc.T, out=z)
            if self._dictionary.activation == "groupmax":
                return self._dictionary.select_largest(z)
            feature = topk_indices(z, k)
            return z.gather(1, feature).relu_(), feature
        x_and_one = torch.cat([x, torch.ones_like(x[:, :1])], dim=1).bfloat16()
        torch.mm(x_and_one, self._rounded.T, out=z)
        feature = topk_indices(z, min(len(self._W_enc), k + max(16, k // 2)))
        exact = _row_products(x, self._W_enc, feature) + self._b_enc[feature]
        value, rank = exact.topk(k, dim=1, sorted=False)
        return value.relu_(), feature.gather(1, rank)


def topk_indices(z: Tensor, k: int) -> Tensor:
    """Indices (n, k) of the k largest values of each row of z (n, d), in no order; faster than `torch.topk` for small k / d.

    The row is cut into chunks of `_CHUNK` values. Each of the k largest values lies in one of the k chunks with the largest
    maximum: a chunk outside of these has k chunks above it, each with a value at least as large as any of its own.
    """
    n, d = z.shape
    if d % _CHUNK or d < 2 * k * _CHUNK:
        return z.topk(k, dim=1, sorted=False).indices
    # The columns of a chunk stand d / _CHUNK apart, so that their maximum compares whole rows of contiguous memory.
    chunk = z.view(n, _CHUNK, -1).amax(dim=1).topk(k, dim=1, sorted=False).indices
    column = (chunk.unsqueeze(2) + torch.arange(0, d, d // _CHUNK, device=z.device)).flatten(1)
    return column.gather(1, z.gather(1, column).topk(k, dim=1, sorted=False).indices)


def _row_products(x: Tensor, W: Tensor, feature: Tensor) -> Tensor:
    """Products (n, m) of each row of x (n, d_in) with the m rows of W that `feature` (n, m) names for it."""
    if x.device.type != "cpu":
        return torch.bmm(W.index_select(0, feature.flatten()).view(*feature.shape, -1), x.unsqueeze(2)).squeeze(2)
    # On a CPU a product sampled at the places of a sparse matrix is six times faster, because no row of W is copied.
    rows = torch.arange(0, feature.numel() + 1, feature.shape[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that its sparse matrices are in beta
        places = torch.sparse_csr_tensor(
            rows, feature.flatten(), x.new_zeros(feature.numel()), (len(x), len(W)), check_invariants=False
        )
        products: Tensor = torch.sparse.sampled_addmm(places, x, W.T, beta=0.0)
    return products.values().view(feature.shape)


class NeuronEncoder:
    """Reads the activations, `relu(sign * m_j)`, of chosen signed neurons. `neurons[j]` with `signs[j]` is unit `units[j]`."""

    def __init__(self, neurons: Sequence[int], signs: Sequence[float], units: Tensor) -> None:
        device, chosen = units.device, torch.tensor(neurons, dtype=torch.int64)
        # Both signs of a neuron stand side by side, so that its column is read once.
        order = chosen.argsort(stable=True)
        self._units = units[order.to(device)]
        self._neurons = chosen[order].to(device)
        self._signs = torch.tensor(signs)[order].to(device)

    def blocks(self, m: Tensor, counted: Tensor) -> Iterator[MakeBlock]:
        """Blocks, computed when called, of activations at the N tokens of m (N, n_mlp). `counted` (N,) marks those that may be
        sampled."""
        size = _rows_per_block(m)
        for start in range(0, len(self._units), size):
            yield partial(self._dense, slice(start, start + size), m, counted)

    def _dense(self, part: slice, m: Tensor, counted: Tensor) -> DenseBlock:
        distinct, row = torch.unique_consecutive(self._neurons[part], return_inverse=True)
        values = m.index_select(1, distinct).T.contiguous().index_select(0, row)
        values *= self._signs[part].unsqueeze(1)
        return DenseBlock(self._units[part], values, torch.zeros(len(row), device=m.device), counted)


def _rows_per_block(x: Tensor) -> int:
    return max(16, _DENSE_ELEMENTS.get(x.device.type, 1 << 20) // max(1, len(x)))
