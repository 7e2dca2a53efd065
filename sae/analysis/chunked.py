"""A dictionary applied to many tokens a piece of its features at a time.

A million features of eight thousand tokens are 32 GB. Nothing here is ever larger than `ELEMENTS` numbers, and weights are read
from where they lie, a piece at a time, so that a mapped file is never in memory whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, linear

from sae.dictionary import Dictionary

ELEMENTS = 1 << 25
"""Activations at a time, tokens times features: 128 MB."""


class Piece(NamedTuple):
    """Activations f (n, count) of the features from `start` on."""

    start: int
    f: Tensor

    @property
    def stop(self) -> int:
        return self.start + self.f.shape[1]


def pieces(dictionary: Dictionary, x: Tensor) -> Iterator[Piece]:
    """Activations f of rows x (n, d_in), on x's device, in order of the features; together they are `dictionary.encode(x)`."""
    prepared = dictionary.prepare(x.to(dictionary.W_enc.device)).to(x.device)
    ranges = list(_ranges(dictionary, max(1, ELEMENTS // max(1, len(x)))))
    if dictionary.activation == "topk":
        yield from _topk_pieces(dictionary, prepared, ranges)
        return
    for start, stop in ranges:
        z = _z(dictionary, prepared, start, stop)
        if dictionary.activation == "groupmax":
            yield Piece(start, _largest_of_groups(z, dictionary.d_sae // (dictionary.k or 1)))
        elif dictionary.threshold is not None:
            yield Piece(start, z.masked_fill_(z <= dictionary.threshold[start:stop].to(z), 0.0))
        else:
            yield Piece(start, z.relu_())


def reconstruct(dictionary: Dictionary, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Reconstructions (n, d_out) of rows x (n, d_in), each row's number of active features (n,), each feature's rows (d_sae,)."""
    written = torch.zeros(len(x), dictionary.d_out, device=x.device)
    l0 = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    fired = torch.zeros(dictionary.d_sae, dtype=torch.int64, device=x.device)
    for piece in pieces(dictionary, x):
        written.addmm_(piece.f, dictionary.W_dec[piece.start : piece.stop].to(written))
        active = piece.f > 0
        l0 += active.sum(dim=1)
        fired[piece.start : piece.stop] = active.sum(dim=0)
    return finished(dictionary, written, x), l0, fired


def activity(dictionary: Dictionary, x: Tensor) -> tuple[Tensor, Tensor]:
    """The last two of what `reconstruct` gives, for dictionaries that reconstruct nothing."""
    l0 = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    fired = torch.zeros(dictionary.d_sae, dtype=torch.int64, device=x.device)
    for piece in pieces(dictionary, x):
        l0 += (piece.f > 0).sum(dim=1)
        fired[piece.start : piece.stop] = (piece.f > 0).sum(dim=0)
    return l0, fired


def reconstruct_rounded(dictionary: Dictionary, x: Tensor, maximum: Tensor, shares: Tensor) -> Tensor:
    """Reconstructions (t, n, d_out) of rows x where activations of at most `shares` (t,), ascending, of a feature's maximum are 0.

    Each activation is written once, to the highest share that it exceeds; lower shares add what the higher ones wrote.
    """
    written = torch.zeros(len(shares) * len(x), dictionary.d_out, device=x.device)
    for piece in pieces(dictionary, x):
        row, feature = piece.f.nonzero(as_tuple=True)
        value = piece.f[row, feature]
        level = torch.searchsorted(shares, value / maximum[piece.start + feature]) - 1
        # The first share is 0, which every activation exceeds; rounding must not lose one that equals its maximum.
        bag = level.clamp_(min=0) * len(x) + row
        order = bag.argsort()
        offsets = torch.searchsorted(bag[order], torch.arange(len(written), device=x.device))
        weight = dictionary.W_dec[piece.start : piece.stop].to(written).contiguous()
        written += embedding_bag(feature[order], weight, offsets, mode="sum", per_sample_weights=value[order])
    sums = written.reshape(len(shares), len(x), -1).flip(0).cumsum(0).flip(0)
    return torch.stack([finished(dictionary, part, x) for part in sums])


def finished(dictionary: Dictionary, written: Tensor, x: Tensor) -> Tensor:
    """`dictionary.complete`, wherever the dictionary lies."""
    where = dictionary.W_enc.device
    return dictionary.complete(written.to(where), x.to(where)).to(x)


def variance_explained(y: Tensor, y_hat: Tensor) -> float:
    """One minus the squared error over the variance of rows y (n, d)."""
    y, y_hat = y.cpu(), y_hat.cpu()  # not every accelerator adds in float64
    error = (y - y_hat).double().square().sum()
    return 1 - float(error / (y - y.mean(dim=0)).double().square().sum())


def _ranges(dictionary: Dictionary, most: int) -> Iterator[tuple[int, int]]:
    """Ranges of at most `most` features; groups of which one feature is kept stay whole."""
    if dictionary.activation == "groupmax":
        group = dictionary.d_sae // (dictionary.k or 1)
        most = max(1, most // group) * group
    for start in range(0, dictionary.d_sae, most):
        yield start, min(start + most, dictionary.d_sae)


def _z(dictionary: Dictionary, prepared: Tensor, start: int, stop: int) -> Tensor:
    return linear(prepared, dictionary.W_enc[start:stop].to(prepared), dictionary.b_enc[start:stop].to(prepared))


def _topk_pieces(dictionary: Dictionary, prepared: Tensor, ranges: list[tuple[int, int]]) -> Iterator[Piece]:
    """First each row's k largest of all ranges, then those ranges with the rest 0."""
    assert dictionary.k is not None
    values = prepared.new_empty(len(prepared), 0)
    indices = torch.empty(len(prepared), 0, dtype=torch.int64, device=prepared.device)
    for start, stop in ranges:
        found, at = _z(dictionary, prepared, start, stop).topk(min(dictionary.k, stop - start), dim=1)
        values, indices = torch.cat([values, found], dim=1), torch.cat([indices, at + start], dim=1)
        values, kept = values.topk(min(dictionary.k, values.shape[1]), dim=1)
        indices = indices.gather(1, kept)
    values = values.relu()
    for start, stop in ranges:
        f = prepared.new_zeros(len(prepared), stop - start)
        row, rank = ((indices >= start) & (indices < stop)).nonzero(as_tuple=True)
        f[row, indices[row, rank] - start] = values[row, rank]
        yield Piece(start, f)


def _largest_of_groups(z: Tensor, group: int) -> Tensor:
    groups = z.reshape(len(z), -1, group)
    values, within = groups.max(dim=-1, keepdim=True)
    return torch.zeros_like(groups).scatter_(-1, within, values.relu()).reshape(z.shape)
