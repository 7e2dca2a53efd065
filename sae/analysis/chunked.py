"""Encode and reconstruct many tokens with a wide dictionary, one chunk of its features at a time.

Activations of a million features at eight thousand tokens are 32 GB. No tensor here has more than `ELEMENTS` numbers, and weights
are read chunk by chunk from where they are stored, so that a mapped file is never in memory as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, linear

from sae.dictionary import Dictionary, Encoder

ELEMENTS = 1 << 25
"""Activations in a chunk, tokens times features: 128 MB."""


class FeatureChunk(NamedTuple):
    """Activations f (n, count) of `count` features from number `start` on."""

    start: int
    f: Tensor

    @property
    def stop(self) -> int:
        return self.start + self.f.shape[1]


def feature_chunks(dictionary: Dictionary, x: Tensor) -> Iterator[FeatureChunk]:
    """Activations f of rows x (n, d_in), on x's device, in order of the features. All chunks together are `dictionary.encode(x)`."""
    prepared = dictionary.prepare(x.to(dictionary.W_enc.device)).to(x.device)
    ranges = list(_ranges(dictionary, max(1, ELEMENTS // max(1, len(x)))))
    if dictionary.activation == "topk":
        yield from _topk_chunks(dictionary, prepared, ranges)
        return
    if dictionary.encoder is not None:
        yield from _called_chunks(dictionary.encoder, prepared, ranges)
        return
    for start, stop in ranges:
        z = _pre_activations(dictionary, prepared, start, stop)
        if dictionary.activation == "groupmax":
            yield FeatureChunk(start, _largest_of_groups(z, dictionary.d_sae // (dictionary.k or 1)))
        elif dictionary.threshold is not None:
            yield FeatureChunk(start, z.masked_fill_(z <= dictionary.threshold[start:stop].to(z), 0.0))
        else:
            yield FeatureChunk(start, z.relu_())


def reconstruct(dictionary: Dictionary, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Reconstructions (n, d_out) of rows x (n, d_in), the number of active features of each row (n,), and the number of rows at
    which each feature is active (d_sae,)."""
    features_sum = torch.zeros(len(x), dictionary.d_out, device=x.device)
    l0 = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    n_active = torch.zeros(dictionary.d_sae, dtype=torch.int64, device=x.device)
    for chunk in feature_chunks(dictionary, x):
        features_sum.addmm_(chunk.f, dictionary.W_dec[chunk.start : chunk.stop].to(features_sum))
        active = chunk.f > 0
        l0 += active.sum(dim=1)
        n_active[chunk.start : chunk.stop] = active.sum(dim=0)
    return complete_reconstruction(dictionary, features_sum, x), l0, n_active


def activity(dictionary: Dictionary, x: Tensor) -> tuple[Tensor, Tensor]:
    """The two counts that `reconstruct` returns, for dictionaries that reconstruct nothing."""
    l0 = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    n_active = torch.zeros(dictionary.d_sae, dtype=torch.int64, device=x.device)
    for chunk in feature_chunks(dictionary, x):
        l0 += (chunk.f > 0).sum(dim=1)
        n_active[chunk.start : chunk.stop] = (chunk.f > 0).sum(dim=0)
    return l0, n_active


def reconstruct_rounded(dictionary: Dictionary, x: Tensor, maximum: Tensor, shares: Tensor) -> Tensor:
    """Reconstructions (t, n, d_out) of rows x in which activations up to a share of their feature's `maximum` (d_sae,) are set to 0,
    for each of `shares` (t,), ascending from 0."""
    # Each activation is added once, to the highest share that it exceeds. The sum for a share is then that of its own and all
    # higher ones: a cumulative sum from the back.
    sums = torch.zeros(len(shares) * len(x), dictionary.d_out, device=x.device)
    for chunk in feature_chunks(dictionary, x):
        row, feature = chunk.f.nonzero(as_tuple=True)
        value = chunk.f[row, feature]
        level = torch.searchsorted(shares, value / maximum[chunk.start + feature]) - 1
        # Every positive activation exceeds the first share, 0, even if its ratio to the maximum underflows.
        bag = level.clamp_(min=0) * len(x) + row
        order = bag.argsort()
        offsets = torch.searchsorted(bag[order], torch.arange(len(sums), device=x.device))
        weight = dictionary.W_dec[chunk.start : chunk.stop].to(sums).contiguous()
        sums += embedding_bag(feature[order], weight, offsets, mode="sum", per_sample_weights=value[order])
    by_share = sums.reshape(len(shares), len(x), -1).flip(0).cumsum(0).flip(0)
    return torch.stack([complete_reconstruction(dictionary, part, x) for part in by_share])


def complete_reconstruction(dictionary: Dictionary, features_sum: Tensor, x: Tensor) -> Tensor:
    """`dictionary.complete_decoding` on the dictionary's device, moved to x's."""
    device = dictionary.W_enc.device
    return dictionary.complete_decoding(features_sum.to(device), x.to(device)).to(x)


def variance_explained(y: Tensor, y_hat: Tensor) -> float:
    """One minus the squared error over the variance of rows y (n, d)."""
    y, y_hat = y.cpu(), y_hat.cpu()  # not every accelerator adds in float64
    error = (y - y_hat).double().square().sum()
    return 1 - float(error / (y - y.mean(dim=0)).double().square().sum())


def _ranges(dictionary: Dictionary, most: int) -> Iterator[tuple[int, int]]:
    """Ranges of at most `most` features. The groups of groupmax are not cut."""
    if dictionary.activation == "groupmax":
        group = dictionary.d_sae // (dictionary.k or 1)
        most = max(1, most // group) * group
    for start in range(0, dictionary.d_sae, most):
        yield start, min(start + most, dictionary.d_sae)


def _pre_activations(dictionary: Dictionary, prepared: Tensor, start: int, stop: int) -> Tensor:
    return linear(prepared, dictionary.W_enc[start:stop].to(prepared), dictionary.b_enc[start:stop].to(prepared))


def _topk_chunks(dictionary: Dictionary, prepared: Tensor, ranges: list[tuple[int, int]]) -> Iterator[FeatureChunk]:
    """Chunks of topk: a first pass keeps each row's k largest values so far, a second writes them into otherwise empty chunks."""
    assert dictionary.k is not None
    values = prepared.new_empty(len(prepared), 0)
    indices = torch.empty(len(prepared), 0, dtype=torch.int64, device=prepared.device)
    for start, stop in ranges:
        z = _pre_activations(dictionary, prepared, start, stop)
        largest, index = z.topk(min(dictionary.k, stop - start), dim=1)
        values, indices = torch.cat([values, largest], dim=1), torch.cat([indices, index + start], dim=1)
        values, kept = values.topk(min(dictionary.k, values.shape[1]), dim=1)
        indices = indices.gather(1, kept)
    values = values.relu()
    for start, stop in ranges:
        f = prepared.new_zeros(len(prepared), stop - start)
        row, rank = ((indices >= start) & (indices < stop)).nonzero(as_tuple=True)
        f[row, indices[row, rank] - start] = values[row, rank]
        yield FeatureChunk(start, f)


def _called_chunks(encoder: Encoder, prepared: Tensor, ranges: list[tuple[int, int]]) -> Iterator[FeatureChunk]:
    """Chunks of an encoder that is called: a first pass lists the features of a few rows at a time, a second writes them out."""
    rows = max(1, ELEMENTS // ranges[-1][1])
    index, values = [], []
    for start in range(0, len(prepared), rows):
        f = encoder(prepared[start : start + rows])
        row, feature = f.nonzero(as_tuple=True)
        index.append(torch.stack([feature, row + start]).int())
        values.append(f[row, feature])
    feature, row = torch.cat(index, dim=1)
    value = torch.cat(values)
    for start, stop in ranges:
        f = prepared.new_zeros(len(prepared), stop - start)
        here = (feature >= start) & (feature < stop)
        f[row[here], feature[here] - start] = value[here]
        yield FeatureChunk(start, f)


def _largest_of_groups(z: Tensor, group: int) -> Tensor:
    """z (n, m) in which the largest value of each `group` consecutive ones is kept if it is positive, and the rest is 0."""
    groups = z.reshape(len(z), -1, group)
    values, within = groups.max(dim=-1, keepdim=True)
    return torch.zeros_like(groups).scatter_(-1, within, values.relu()).reshape(z.shape)
