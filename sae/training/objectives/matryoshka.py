"""Matryoshka: nested dictionaries, each a prefix of the next."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sae.training.objectives.active import Sparse
from sae.training.objectives.batchtopk import BatchTopK


class Matryoshka(BatchTopK):
    """Matryoshka over BatchTopK (Bussmann et al. 2025, arXiv 2503.17547).

    Loss: the mean over widths m in `prefixes` and d_sae of `||x - x_hat_m||^2 / d`, where x_hat_m decodes only the first m
    features. General features come first, because every prefix needs them. The whole dictionary is exported.
    """

    def __init__(
        self, d_sae: int, mean: Tensor, k: int, prefixes: Sequence[int], seed: int, precision: str, steps: int
    ) -> None:
        super().__init__(d_sae, mean, k, seed, precision, steps)
        self.ends = torch.tensor(prefixes, device=mean.device)
        self.levels = len(prefixes) + 1

    def select(self, z: Tensor) -> Sparse:
        places = super().select(z)
        level = torch.bucketize(
            places.columns, self.ends, right=True
        )  # of the smallest prefix that contains the feature
        rows, order = (level * len(z) + places.rows).sort(stable=True)
        return Sparse(rows, places.columns[order], self.levels * len(z), places.d_sae)
