"""Pearson correlation of some features with every neuron of some layers, streamed.

Of the tokens only sums are kept: of each feature, of each neuron, and of every product of the two. Values are shifted by the
first batch's means before they are multiplied, so that small variances on large means are not lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

ELEMENTS = 1 << 26
"""Most products of features and neurons: 0.5 GB of sums."""


class Best(NamedTuple):
    """For each feature (F,) its best neuron: place in the list of layers, index, and signed correlation; NaN for a constant feature."""

    layer: Tensor
    neuron: Tensor
    r: Tensor


class Correlations:
    """Sums over tokens of features (n, F) and of neurons (n, M) at each of several hook points."""

    def __init__(self) -> None:
        self.n = 0
        self._features: _Moments | None = None
        self._neurons: dict[str, _Moments] = {}
        self._products: dict[str, Tensor] = {}

    def update(self, features: Tensor, neurons: Mapping[str, Tensor]) -> None:
        """Take in the same n tokens' activations of the features and of every layer's neurons."""
        if not len(features):
            return
        if self._features is None:
            self._features = _Moments(features)
            self._neurons = {name: _Moments(values) for name, values in neurons.items()}
        self.n += len(features)
        shifted = self._features.add(features)
        for name, values in neurons.items():
            product = (shifted.T @ self._neurons[name].add(values)).double().cpu()
            self._products[name] = self._products[name] + product if name in self._products else product

    def best(self) -> tuple[Best, Best]:
        """Each feature's neuron of the highest correlation, and that of the highest absolute one."""
        assert self._features is not None, "no tokens"
        signed: list[tuple[Tensor, Tensor]] = []
        absolute: list[tuple[Tensor, Tensor]] = []
        for name, neurons in self._neurons.items():
            covariance = self._products[name] - torch.outer(self._features.total, neurons.total) / self.n
            scale = torch.outer(self._features.deviation(self.n), neurons.deviation(self.n))
            r = torch.where(scale > 0, covariance / scale, 0.0).clamp_(-1, 1)
            for parts, at in ((signed, r.argmax(dim=1)), (absolute, r.abs().argmax(dim=1))):
                parts.append((at, r.gather(1, at[:, None])[:, 0]))
        silent = self._features.deviation(self.n) == 0
        return _of_all_layers(signed, silent, lambda r: r), _of_all_layers(absolute, silent, torch.abs)


def _of_all_layers(parts: list[tuple[Tensor, Tensor]], silent: Tensor, order: Callable[[Tensor], Tensor]) -> Best:
    """The best of each layer's best, (index, correlation) of each feature."""
    at, r = torch.stack([part[0] for part in parts]), torch.stack([part[1] for part in parts])
    layer = order(r).argmax(dim=0, keepdim=True)
    return Best(layer[0], at.gather(0, layer)[0], r.gather(0, layer)[0].masked_fill(silent, float("nan")))


class _Moments:
    """Sums and sums of squares of columns, float64 on the CPU, shifted by the first batch's means."""

    def __init__(self, first: Tensor) -> None:
        self.shift = first.mean(dim=0)
        self.total = torch.zeros(first.shape[1], dtype=torch.float64)
        self.square = torch.zeros(first.shape[1], dtype=torch.float64)

    def add(self, values: Tensor) -> Tensor:
        """Take in rows; returns them shifted."""
        shifted = values - self.shift
        self.total += shifted.sum(dim=0).double().cpu()
        self.square += shifted.square().sum(dim=0).double().cpu()
        return shifted

    def deviation(self, n: int) -> Tensor:
        """The root of the sum of squared deviations; 0 for a column that rounding alone tells from a constant."""
        centred = self.square - self.total.square() / n
        return torch.where(centred > 1e-10 * self.square + 1e-24, centred, 0.0).sqrt()
