"""JumpReLU: each feature has a threshold of its own, learned through a straight-through estimate."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from sae.training.objectives.active import active, largest
from sae.training.objectives.base import Step, UnitDecoder, variance

Sparsity = Literal["target", "l0", "tanh"]
BANDWIDTH = 0.5
"""Width of the window around a threshold, where activations have mean squared norm d."""
TANH_SCALE = 4.0
PRE_ACT = 3e-6
"""Weight of the pre-activation loss on dead features (Anthropic, January 2025)."""
PENALTY_WARMUP = 0.05


class JumpReLU(UnitDecoder):
    """JumpReLU (Rajamanoharan et al. 2024, arXiv 2407.14435): `f = z` where z exceeds t, else 0.

    `z = (x - b_dec) @ W_enc.T + b_enc`.

    Loss, a token: `||x - x_hat||^2 / d` plus `weight` times the penalty

        target  (L0 / k - 1)^2, L0 the batch's mean     after Gemma Scope 2's quadratic penalty
        l0      L0 / k                                  the paper's
        tanh    sum_i tanh(4 f_i) / k                   Anthropic's update of January 2025

    plus Anthropic's pre-activation loss `3e-6 * sum_i relu(t_i - z_i)` over dead features. A threshold's gradient is the
    straight-through one: `-(t * dL/df + dP) / bandwidth` summed over the z in its window, dP the price of being active.

    Thresholds start where the first batch has L0 = k. They are learned in units of sqrt(d), so that Adam's steps, which are
    alike for all parameters, move them about as fast as rows of W_enc.
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
        z = self.encoded(centred)
        threshold = self._threshold(z)
        places = active(z > threshold, self.product)
        f = places.pick(z)
        x_hat, back = places.times(f, W_dec)
        error = x_hat - centred
        g = error * (2 / error.numel())
        l0 = torch.count_nonzero(f).item() / n
        penalty, price = self._penalty(f, l0, n, progress)
        dz, jump = back(g), torch.ones_like(threshold)
        if self.sparsity == "tanh":
            dz += price * TANH_SCALE * places.ones() * (1 - torch.tanh(TANH_SCALE * f).square())
            jump = torch.tanh(TANH_SCALE * threshold)
        b_enc = places.column_sums(dz)
        gradients = {
            "W_enc": places.transposed(dz, centred), "b_enc": b_enc, "W_dec": places.transposed(f, g),
            "b_dec": g.sum(dim=0) - b_enc @ W_enc, "threshold": self._through(z, threshold, g, price * jump),
        }  # fmt: skip
        loss = error.square().mean().item() + penalty
        if bool(dead.any()):
            loss += self._add_pre_act(gradients, centred, z, threshold, dead.nonzero()[:, 0])
        self.put(gradients)
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
        parameter = self.parameters["threshold"]
        if not self.started:
            least = z.flatten()[largest(z, self.k * len(z))].min()
            parameter.fill_(least / self.unit * (1 - 1e-6))  # the least one is active too
            self.started = True
        threshold: Tensor = parameter * self.unit
        return threshold

    def _through(self, z: Tensor, threshold: Tensor, g: Tensor, price: Tensor) -> Tensor:
        """The gradient of the thresholds, g being that of x_hat, and price (d_sae,) that of a feature's being active.

        Early on nearly all z are in the window. The sum over it of `dL/df = g @ W_dec.T` is therefore taken over g first:
        it is the one product that has to be dense then.
        """
        window = active((z > threshold - BANDWIDTH / 2) & (z < threshold + BANDWIDTH / 2), self.product)
        df = (window.transposed(window.ones(), g) * self.parameters["W_dec"]).sum(dim=1)
        gradient: Tensor = (threshold * df + price * window.column_sums(window.ones())) * (-self.unit / BANDWIDTH)
        return gradient

    def _penalty(self, f: Tensor, l0: float, n: int, progress: float) -> tuple[float, float]:
        """The penalty, and what one more active feature in the batch adds to it (under tanh: one that is fully on)."""
        weight = self.weight
        if self.sparsity == "target":
            return weight * (l0 / self.k - 1) ** 2, 2 * weight * (l0 / self.k - 1) / (self.k * n)
        price = weight * min(1.0, progress / PENALTY_WARMUP) / (self.k * n)
        return price * (float(torch.tanh(TANH_SCALE * f).sum()) if self.sparsity == "tanh" else l0 * n), price

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
