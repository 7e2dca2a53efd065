"""The training step that TopK, BatchTopK and Matryoshka share: they differ in the features that they keep and the number of levels."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from sae.training.objectives.active import Sparse
from sae.training.objectives.base import Step, UnitDecoder, variance

AUX_COEFFICIENT = 1 / 32
AUX_ROWS = 4
"""AuxK is computed on every fourth row of a batch: dead features need a direction, not precision."""


class KSparse(UnitDecoder):
    """Loss: the mean over levels of `||x - x_hat||^2 / d`, where `f` are the kept values of `(x - b_dec) @ W_enc.T + b_enc`.

    All but Matryoshka have one level. AuxK (Gao et al. 2024, arXiv 2406.04093, A.2) adds 1/32 of the normalised error with which the
    d/2 largest dead features of each row reconstruct the residual of the main reconstruction.
    """

    levels = 1
    """Number of nested dictionaries that are decoded."""

    def __init__(self, d_sae: int, mean: Tensor, k: int, seed: int, precision: str) -> None:
        super().__init__(d_sae, mean, seed, precision)
        self.k = k

    @abstractmethod
    def select(self, z: Tensor) -> Sparse:
        """The places of the kept values of pre-activations z (n, d_sae), all positive. Level l has the n rows from l * n on."""

    def gradients(self, x: Tensor, progress: float, dead: Tensor) -> Step:
        W_enc, _, W_dec, b_dec = self.parameters.values()
        centred = x - b_dec
        z = self.pre_activations(centred)
        places = self.select(z)
        f = places.pick(z)
        # Level l decodes the features of levels 0..l: a cumulative sum of the levels' own parts. So a feature contributes to the errors
        # of its level and all later ones, and its gradient is the sum of theirs: a cumulative sum from the back.
        parts, backward = places.times(f, W_dec)
        errors = parts.view(self.levels, *x.shape).cumsum(dim=0) - centred
        g = errors * (2 / errors.numel())
        later = g.flip(0).cumsum(dim=0).flip(0).reshape(-1, x.shape[1])
        dz = backward(later)
        b_enc = places.column_sums(dz)
        gradients = {
            "W_enc": places.transposed(dz, centred), "b_enc": b_enc, "W_dec": places.transposed(f, later),
            "b_dec": later[: len(x)].sum(dim=0) - b_enc @ W_enc,
        }  # fmt: skip
        error = errors[-1]
        if bool(dead.any()):
            self._add_auxk(gradients, centred[::AUX_ROWS], z[::AUX_ROWS], -error[::AUX_ROWS], dead.nonzero()[:, 0])
        self.set_gradients(gradients)
        self.on_selected(f)
        loss = errors.square().mean().item()
        return Step(loss, len(f) / len(x), error.square().sum().item() / variance(x), places.fired())

    def on_selected(self, f: Tensor) -> None:
        """Called with the kept values of each step."""

    def _add_auxk(self, gradients: dict[str, Tensor], x: Tensor, z: Tensor, residual: Tensor, dead: Tensor) -> None:
        """Add the gradients of `AUX_COEFFICIENT * ||residual - residual_hat||^2 / ||residual||^2`, where residual_hat is decoded from
        the features with the numbers `dead`."""
        values, places = z[:, dead].topk(min(x.shape[1] // 2, len(dead)), dim=1)
        f = torch.zeros(len(x), len(dead), device=x.device).scatter_(1, places, values.relu())
        W_dec = self.parameters["W_dec"][dead]
        g = (self.product(f, W_dec) - residual) * (2 * AUX_COEFFICIENT / residual.square().sum().clamp_min(1e-12))
        dz = self.product(g, W_dec.T) * (f > 0)
        gradients["W_dec"].index_add_(0, dead, self.product(f.T, g))
        gradients["W_enc"].index_add_(0, dead, self.product(dz.T, x))
        gradients["b_enc"].index_add_(0, dead, dz.sum(dim=0))
