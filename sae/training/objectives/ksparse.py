"""The step that TopK, BatchTopK and Matryoshka share: they differ in what is kept, and how often it is decoded."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from sae.training.objectives.active import Sparse
from sae.training.objectives.base import Step, UnitDecoder, variance

AUX_COEFFICIENT = 1 / 32
AUX_ROWS = 4
"""AuxK looks at every so many-th part of a batch: dead features need a direction, not precision."""


class KSparse(UnitDecoder):
    """Loss: the mean over levels of `||x - x_hat||^2 / d`, where `f` are the kept of `(x - b_dec) @ W_enc.T + b_enc`.

    All but Matryoshka have one level. AuxK (Gao et al. 2024, arXiv 2406.04093, A.2) adds 1/32 of the normalised error of
    reconstructing what was left over from the d/2 largest dead features of each row.
    """

    levels = 1

    def __init__(self, d_sae: int, mean: Tensor, k: int, seed: int, precision: str) -> None:
        super().__init__(d_sae, mean, seed, precision)
        self.k = k

    @abstractmethod
    def select(self, z: Tensor) -> Sparse:
        """The kept places of pre-activations z (n, d_sae), all positive; level l has the rows from l * n on."""

    def gradients(self, x: Tensor, progress: float, dead: Tensor) -> Step:
        W_enc, _, W_dec, b_dec = self.parameters.values()
        centred = x - b_dec
        z = self.encoded(centred)
        places = self.select(z)
        f = places.pick(z)
        # A level decodes its own features and all before it, so a feature has a part in the error of its level and all after.
        parts, back = places.times(f, W_dec)
        errors = parts.view(self.levels, *x.shape).cumsum(dim=0) - centred
        g = errors * (2 / errors.numel())
        later = g.flip(0).cumsum(dim=0).flip(0).reshape(-1, x.shape[1])
        dz = back(later)
        b_enc = places.column_sums(dz)
        gradients = {
            "W_enc": places.transposed(dz, centred), "b_enc": b_enc, "W_dec": places.transposed(f, later),
            "b_dec": later[: len(x)].sum(dim=0) - b_enc @ W_enc,
        }  # fmt: skip
        error = errors[-1]
        if bool(dead.any()):
            self._add_auxk(gradients, centred[::AUX_ROWS], z[::AUX_ROWS], -error[::AUX_ROWS], dead.nonzero()[:, 0])
        self.put(gradients)
        self.kept(f)
        loss = errors.square().mean().item()
        return Step(loss, len(f) / len(x), error.square().sum().item() / variance(x), places.fired())

    def kept(self, f: Tensor) -> None:
        """Told of the kept values of each step."""

    def _add_auxk(self, gradients: dict[str, Tensor], x: Tensor, z: Tensor, left: Tensor, dead: Tensor) -> None:
        """Add the gradients of `AUX_COEFFICIENT * ||left - left_hat||^2 / ||left||^2`."""
        values, places = z[:, dead].topk(min(x.shape[1] // 2, len(dead)), dim=1)
        f = torch.zeros(len(x), len(dead), device=x.device).scatter_(1, places, values.relu())
        W_dec = self.parameters["W_dec"][dead]
        g = (self.product(f, W_dec) - left) * (2 * AUX_COEFFICIENT / left.square().sum().clamp_min(1e-12))
        dz = self.product(g, W_dec.T) * (f > 0)
        gradients["W_dec"].index_add_(0, dead, self.product(f.T, g))
        gradients["W_enc"].index_add_(0, dead, self.product(dz.T, x))
        gradients["b_enc"].index_add_(0, dead, dz.sum(dim=0))
