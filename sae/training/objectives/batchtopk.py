"""BatchTopK: a batch keeps k features a token on average."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sae.training.objectives.active import Sparse, largest
from sae.training.objectives.ksparse import KSparse


class BatchTopK(KSparse):
    """BatchTopK (Bussmann et al. 2024, arXiv 2412.06410): a batch keeps its k * n largest activations.

    Loss: `||x - x_hat||^2 / d`. Exported as jumprelu: its threshold is a moving average of the least value kept.
    """

    def __init__(self, d_sae: int, mean: Tensor, k: int, seed: int, precision: str, steps: int) -> None:
        super().__init__(d_sae, mean, k, seed, precision)
        # beta 0.999 from step 1000 on, sooner and shorter where training is: the average must forget the early encoder.
        self.beta = 1 - max(0.001, 20 / steps)
        self.threshold, self.least = -1.0, 0.0

    def select(self, z: Tensor) -> Sparse:
        return Sparse.at(largest(z, self.k * len(z), likely=0.8 * self.least), *z.shape)

    def kept(self, f: Tensor) -> None:
        if len(f):
            self.least = f.min().item()
            before = self.least if self.threshold < 0 else self.threshold
            self.threshold = self.beta * before + (1 - self.beta) * self.least

    def exported(self, scale: float) -> dict[str, Any]:
        return self.as_jumprelu(torch.full_like(self.parameters["b_enc"], self.threshold), scale)

    def state(self) -> dict[str, Any]:
        return {"threshold": self.threshold, "least": self.least}

    def restore(self, state: dict[str, Any]) -> None:
        self.threshold, self.least = state["threshold"], state["least"]
