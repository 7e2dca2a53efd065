"""ReLU with an L1 penalty: Scaling Monosemanticity's objective, trained as in Anthropic's April 2024 update."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sae.training.objectives.active import active_places
from sae.training.objectives.base import Objective, Step, variance

PENALTY_WARMUP = 0.05
"""Share of the training over which the penalty grows (April 2024 update)."""


class Standard(Objective):
    """Loss per token: `||x - x_hat||^2 + l1 * sum_i f_i ||W_dec_i||` with `f = relu(x @ W_enc.T + b_enc)`.

    Decoder rows start with norm 0.1 and may grow; biases start at 0; no bias is subtracted before the encoder. The encoder's bias,
    which keeps features silent, is learned in units of sqrt(d): Adam's steps are equally large for all parameters and would otherwise
    change it too slowly in short trainings.
    """

    def __init__(self, d_sae: int, mean: Tensor, l1: float, seed: int, precision: str) -> None:
        super().__init__(d_sae, torch.zeros_like(mean), seed, precision, row_norm=0.1)
        self.l1 = l1
        self.unit = len(mean) ** 0.5

    @property
    def b_enc(self) -> Tensor:
        b_enc: Tensor = self.parameters["b_enc"] * self.unit
        return b_enc

    def gradients(self, x: Tensor, progress: float, dead: Tensor) -> Step:
        _, _, W_dec, b_dec = self.parameters.values()
        n, norm = len(x), W_dec.norm(dim=1)
        z = self.pre_activations(x)
        places = active_places(z > 0, self.product)
        f = places.pick(z)
        x_hat, backward = places.times(f, W_dec)
        error = x_hat + b_dec - x
        sums = places.column_sums(f)
        l1 = self.l1 * min(1.0, progress / PENALTY_WARMUP)
        g = error * (2 / n)
        df = places.plus(backward(g), norm * (l1 / n))
        W_dec_gradient = places.transposed(f, g) + (sums * (l1 / n) / norm.clamp_min(1e-12))[:, None] * W_dec
        self.set_gradients({
            "W_enc": places.transposed(df, x), "b_enc": places.column_sums(df) * self.unit,
            "W_dec": W_dec_gradient, "b_dec": g.sum(dim=0),
        })  # fmt: skip
        squared = error.square().sum().item()
        l0 = torch.count_nonzero(f).item() / n
        return Step((squared + l1 * float(sums @ norm)) / n, l0, squared / variance(x), places.fired())

    def exported(self, scale: float) -> dict[str, Any]:
        W_enc, _, W_dec, b_dec = self.parameters.values()
        norm = W_dec.norm(dim=1).clamp_min(1e-12)
        return {
            "W_enc": W_enc * norm[:, None], "b_enc": self.b_enc * norm / scale, "W_dec": W_dec / norm[:, None],
            "b_dec": b_dec / scale, "activation": "relu", "apply_b_dec_to_input": False,
        }  # fmt: skip
