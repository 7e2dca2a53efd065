"""JumpReLU: each feature has a threshold of its own, learned with a straight-through estimator."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from sae.training.objectives.active import active_places, largest_positive
from sae.training.objectives.base import Step, UnitDecoder, variance

Sparsity = Literal["target", "l0", "tanh"]
BANDWIDTH = 0.5
"""Width of the window around a threshold, for activations with mean squared norm d."""
TANH_SCALE = 4.0
PRE_ACT = 3e-6
"""Weight of the pre-activation loss on dead features (Anthropic, January 2025)."""
PENALTY_WARMUP = 0.05
"""Share of the training over which the penalties `l0` and `tanh` grow."""


class JumpReLU(UnitDecoder):
    """JumpReLU (Rajamanoharan et al. 2024, arXiv 2407.14435): `f = z` where z exceeds t, else 0.

    `z = (x - b_dec) @ W_enc.T + b_enc`.

    Loss per token: `||x - x_hat||^2 / d` plus `weight` times the penalty

        target  (L0 / k - 1)^2, L0 the batch's mean     after Gemma Scope 2's quadratic penalty
        l0      L0 / k                                  the paper's
        tanh    sum_i tanh(4 f_i) / k                   Anthropic's update of January 2025

    plus Anthropic's pre-activation loss `3e-6 * sum_i relu(t_i - z_i)` over dead features. A threshold has the straight-through
    gradient `-(t * dL/df + dP) / bandwidth`, summed over the z in its window, where dP is the penalty for being active.

    Thresholds start at the value at which the first batch has L0 = k. They are learned in units of sqrt(d): Adam's steps are equally
    large for all parameters, and in these units move thresholds about as fast as rows of W_enc.
    """

    def __init__(
        self, d_sae: int, mean: Tensor, k: int, sparsity: Sparsity, weight: float, seed: int, precision: str
    ) -> None:
        super().__init__(d_sae, mean, seed, precision)
        self.parameters["threshold"] = torch.zeros(d_sae, device=mean.device)
        self.k, self.sparsity, self.weight = k, sparsity, weight
        self.unit = len(mean) ** 0.5
        self.started = False

    def gradients(self, x: Tensor, progress: float, dead: Tensor) -> Step:
        W_enc, _, W_dec, b_dec, _ = self.parameters.values()
        n = len(x)
        centred = x - b_dec
        z = self.pre_activations(centred)
        threshold = self._threshold(z)
        places = active_places(z > threshold, self.product)
        f = places.pick(z)
        x_hat, backward = places.times(f, W_dec)
        error = x_hat - centred
        g = error * (2 / error.numel())
        l0 = torch.count_nonzero(f).item() / n
        penalty, per_active = self._penalty(f, l0, n, progress)
        dz, jump = backward(g), torch.ones_like(threshold)
        if self.sparsity == "tanh":
            dz += per_active * TANH_SCALE * places.ones() * (1 - torch.tanh(TANH_SCALE * f).square())
            jump = torch.tanh(TANH_SCALE * threshold)  # a feature at its threshold has only a part of the penalty
        b_enc = places.column_sums(dz)
        gradients = {
            "W_enc": places.transposed(dz, centred), "b_enc": b_enc, "W_dec": places.transposed(f, g),
            "b_dec": g.sum(dim=0) - b_enc @ W_enc,
            "threshold": self._threshold_gradient(z, threshold, g, per_active * jump),
        }  # fmt: skip
        loss = error.square().mean().item() + penalty
        if bool(dead.any()):
            loss += self._add_pre_act(gradients, centred, z, threshold, dead.nonzero()[:, 0])
        self.set_gradients(gradients)
        return Step(loss, l0, error.square().sum().item() / variance(x), places.fired())

    def after_step(self) -> None:
        super().after_step()
        self.parameters["threshold"].clamp_(min=0)

    def exported(self, scale: float) -> dict[str, Any]:
        return self.as_jumprelu(self.parameters["threshold"] * self.unit, scale)

    def state(self) -> dict[str, Any]:
        return {"started": self.started}

    def restore(self, state: dict[str, Any]) -> None:
        self.started = state["started"]

    def _threshold(self, z: Tensor) -> Tensor:
        """The thresholds (d_sae,); on the first batch, set so that it has L0 = k."""
        parameter = self.parameters["threshold"]
        if not self.started:
            smallest = z.flatten()[largest_positive(z, self.k * len(z))].min()
            parameter.fill_(smallest / self.unit * (1 - 1e-6))  # just below it, so that it is active too
            self.started = True
        threshold: Tensor = parameter * self.unit
        return threshold

    def _threshold_gradient(self, z: Tensor, threshold: Tensor, g: Tensor, per_active: Tensor) -> Tensor:
        """The gradient of the thresholds (d_sae,), given the gradient g of x_hat and the penalty `per_active` (d_sae,) of an active
        feature.

        Early in the training nearly all z are in the window. So the sum over the window of `dL/df = g @ W_dec.T` is computed as a sum
        of rows of g first, times W_dec: then only this one product has to be dense.
        """
        window = active_places((z > threshold - BANDWIDTH / 2) & (z < threshold + BANDWIDTH / 2), self.product)
        df = (window.transposed(window.ones(), g) * self.parameters["W_dec"]).sum(dim=1)
        n_in_window = window.column_sums(window.ones())
        gradient: Tensor = (threshold * df + per_active * n_in_window) * (-self.unit / BANDWIDTH)
        return gradient

    def _penalty(self, f: Tensor, l0: float, n: int, progress: float) -> tuple[float, float]:
        """The penalty, and its increase by one more active feature in the batch (under tanh: by one with a tanh of 1)."""
        weight = self.weight
        if self.sparsity == "target":
            return weight * (l0 / self.k - 1) ** 2, 2 * weight * (l0 / self.k - 1) / (self.k * n)
        per_active = weight * min(1.0, progress / PENALTY_WARMUP) / (self.k * n)
        active = float(torch.tanh(TANH_SCALE * f).sum()) if self.sparsity == "tanh" else l0 * n
        return per_active * active, per_active

    def _add_pre_act(
        self, gradients: dict[str, Tensor], x: Tensor, z: Tensor, threshold: Tensor, dead: Tensor
    ) -> float:
        """Add the gradients of the pre-activation loss, and return it."""
        short = threshold[dead] - z[:, dead]
        below = (short > 0).float() * (PRE_ACT / len(x))
        sums = below.sum(dim=0)
        gradients["W_enc"].index_add_(0, dead, self.product(below.T, x), alpha=-1)
        gradients["b_enc"].index_add_(0, dead, sums, alpha=-1)
        gradients["threshold"].index_add_(0, dead, sums, alpha=self.unit)
        gradients["b_dec"] += sums @ self.parameters["W_enc"][dead]
        return float((short * below).sum())
