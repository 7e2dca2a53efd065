"""Pearson correlation of some features with every neuron of some layers, streamed over tokens.

    r = (sum fm - sum f sum m / n) / sqrt((sum f^2 - (sum f)^2 / n) (sum m^2 - (sum m)^2 / n))

Only these sums are kept, not the tokens. Values are shifted by the first batch's means before they are multiplied, which does not
change r and keeps small variances around large means from being lost to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

ELEMENTS = 1 << 26
"""Largest number of products of a feature and a neuron: 0.5 GB of sums."""


class BestNeurons(NamedTuple):
    """For each feature (F,) its most correlated neuron: the layer's place in the list, the index, and the signed correlation, NaN for
    a constant feature."""

    layer: Tensor
    neuron: Tensor
    r: Tensor


class Correlations:
    """Running sums over tokens, of F features and of the M neurons at each of several hook points."""

    def __init__(self) -> None:
        self.n = 0
        self._features: _Moments | None = None
        self._neurons: dict[str, _Moments] = {}
        self._products: dict[str, Tensor] = {}

    def update(self, features: Tensor, neurons: Mapping[str, Tensor]) -> None:
        """Add the activations of the features (n, F) and of every layer's neurons (n, M) at the same n tokens."""
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

    def best(self) -> tuple[BestNeurons, BestNeurons]:
        """For each feature the neuron of highest correlation, and that of highest absolute correlation."""
        assert self._features is not None, "no tokens"
        signed: list[tuple[Tensor, Tensor]] = []
        absolute: list[tuple[Tensor, Tensor]] = []
        for name, neurons in self._neurons.items():
            covariance = self._products[name] - torch.outer(self._features.total, neurons.total) / self.n
            scale = torch.outer(self._features.deviation(self.n), neurons.deviation(self.n))
            r = torch.where(scale > 0, covariance / scale, 0.0).clamp_(-1, 1)
            for parts, index in ((signed, r.argmax(dim=1)), (absolute, r.abs().argmax(dim=1))):
                parts.append((index, r.gather(1, index[:, None])[:, 0]))
        constant = self._features.deviation(self.n) == 0
        return _best_layer(signed, constant, lambda r: r), _best_layer(absolute, constant, torch.abs)


def _best_layer(parts: list[tuple[Tensor, Tensor]], constant: Tensor, order: Callable[[Tensor], Tensor]) -> BestNeurons:
    """The best neurons of all layers, from each layer's best (index, correlation) for every feature."""
    index, r = torch.stack([part[0] for part in parts]), torch.stack([part[1] for part in parts])
    layer = order(r).argmax(dim=0, keepdim=True)
    return BestNeurons(layer[0], index.gather(0, layer)[0], r.gather(0, layer)[0].masked_fill(constant, float("nan")))


class _Moments:
    """Sums and sums of squares of columns, float64 on the CPU, shifted by the first batch's means."""

    def __init__(self, first: Tensor) -> None:
        self.shift = first.mean(dim=0)
        self.total = torch.zeros(first.shape[1], dtype=torch.float64)
        self.square = torch.zeros(first.shape[1], dtype=torch.float64)

    def add(self, values: Tensor) -> Tensor:
        """Add rows of values, and return them shifted."""
        shifted = values - self.shift
        self.total += shifted.sum(dim=0).double().cpu()
        self.square += shifted.square().sum(dim=0).double().cpu()
        return shifted

    def deviation(self, n: int) -> Tensor:
        """The root of the sum of squared deviations; 0 for a column that differs from a constant by no more than rounding."""
        centred = self.square - self.total.square() / n
        return torch.where(centred > 1e-10 * self.square + 1e-24, centred, 0.0).sqrt()
