"""BatchTopK: a batch keeps k features a token on average."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sae.training.objectives.active import Sparse, largest_positive
from sae.training.objectives.ksparse import KSparse


class BatchTopK(KSparse):
    """BatchTopK (Bussmann et al. 2024, arXiv 2412.06410): a batch keeps its k * n largest activations.

    Loss: `||x - x_hat||^2 / d`. Exported as jumprelu, with a moving average of the smallest kept value as the threshold of all
    features.
    """

    def __init__(self, d_sae: int, mean: Tensor, k: int, seed: int, precision: str, steps: int) -> None:
        super().__init__(d_sae, mean, k, seed, precision)
        # 0.999 for 20,000 steps or more, and less for shorter trainings, in which the average has to forget the early encoder sooner.
        self.beta = 1 - max(0.001, 20 / steps)
        self.threshold, self.smallest = -1.0, 0.0

    def select(self, z: Tensor) -> Sparse:
        return Sparse.at(largest_positive(z, self.k * len(z), likely=0.8 * self.smallest), *z.shape)

    def on_selected(self, f: Tensor) -> None:
        if len(f):
            self.smallest = f.min().item()
            before = self.smallest if self.threshold < 0 else self.threshold
            self.threshold = self.beta * before + (1 - self.beta) * self.smallest

    def exported(self, scale: float) -> dict[str, Any]:
        return self.as_jumprelu(torch.full_like(self.parameters["b_enc"], self.threshold), scale)

    def state(self) -> dict[str, Any]:
        return {"threshold": self.threshold, "least": self.smallest}

    def restore(self, state: dict[str, Any]) -> None:
        self.threshold, self.smallest = state["threshold"], state["least"]
