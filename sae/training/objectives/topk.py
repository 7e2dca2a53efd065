"""TopK: each token keeps its k largest features."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sae.training.objectives.active import Sparse
from sae.training.objectives.ksparse import KSparse


class TopK(KSparse):
    """TopK (Gao et al. 2024, arXiv 2406.04093): `f = relu(z)` where z is among its token's k largest, else 0.

    Loss: `||x - x_hat||^2 / d`.
    """

    def select(self, z: Tensor) -> Sparse:
        values, columns = z.topk(self.k, dim=1, sorted=False)
        rows = torch.arange(len(z), device=z.device)[:, None].expand_as(columns)
        positive = values > 0
        return Sparse(rows[positive], columns[positive], *z.shape)

    def exported(self, scale: float) -> dict[str, Any]:
        return self.as_topk(self.k, scale)
