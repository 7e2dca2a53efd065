"""The interface of an objective, and the code that objectives share.

Rows are activations scaled to a mean squared norm of d. Weights are row-major as in `sae.dictionary`: `W_enc`, `W_dec`
(d_sae, d_in), `b_enc` (d_sae,), `b_dec` (d_in,). Gradients are written out by hand, because all products but one are sparse: autograd
would compute them densely, at several times the cost.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize


@dataclass
class Step:
    """Figures of one step: mean loss, active features per token, fraction of variance unexplained, and a mask (d_sae,) of the features
    that were active."""

    loss: float
    l0: float
    fvu: float
    fired: Tensor


class Objective(ABC):
    """One way to train. The optimiser updates `parameters`.

    They start with `W_enc = W_dec`, random rows of norm `row_norm`, and with the given decoder bias. `precision` "bfloat16" rounds
    the factors of dense products; everything else is float32.
    """

    def __init__(self, d_sae: int, b_dec: Tensor, seed: int, precision: str, row_norm: float = 1.0) -> None:
        rows = torch.randn(d_sae, len(b_dec), generator=torch.Generator().manual_seed(seed))
        W_dec = row_norm * normalize(rows, dim=1).to(b_dec.device)
        zeros = torch.zeros(d_sae, device=b_dec.device)
        self.parameters = {"W_enc": W_dec.clone(), "b_enc": zeros, "W_dec": W_dec, "b_dec": b_dec.clone()}
        self.precision = precision

    @abstractmethod
    def gradients(self, x: Tensor, progress: float, dead: Tensor) -> Step:
        """Set the gradients of `parameters` for the loss on rows x (n, d). `progress` is in 0..1, `dead` a mask (d_sae,)."""

    @abstractmethod
    def exported(self, scale: float) -> dict[str, Any]:
        """Fields of the `Dictionary` for activations that are not scaled by `scale`."""

    def after_step(self) -> None:  # noqa: B027
        """Called after each step of the optimiser."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint needs besides the parameters."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:  # noqa: B027
        """Continue from what `state` returned."""

    def product(self, a: Tensor, b: Tensor) -> Tensor:
        """The dense product a @ b, float32."""
        return (a.bfloat16() @ b.bfloat16()).float() if self.precision == "bfloat16" else a @ b

    @property
    def b_enc(self) -> Tensor:
        """The encoder's bias (d_sae,)."""
        return self.parameters["b_enc"]

    def pre_activations(self, x: Tensor) -> Tensor:
        """Pre-activations (n, d_sae) of x (n, d)."""
        W_enc, b_enc = self.parameters["W_enc"], self.b_enc
        return torch.addmm(b_enc, x, W_enc.T) if self.precision != "bfloat16" else self.product(x, W_enc.T) + b_enc

    def set_gradients(self, gradients: dict[str, Tensor]) -> None:
        """Set the parameters' gradients for the optimiser."""
        for name, gradient in gradients.items():
            self.parameters[name].grad = gradient


ENCODER_NORM = 0.1
"""Norm of the encoder's rows at the start. With norm 1, the k largest of many random features would overshoot their input."""


class UnitDecoder(Objective):
    """An objective whose decoder rows keep norm 1, and which subtracts the decoder's bias from its input."""

    def __init__(self, d_sae: int, b_dec: Tensor, seed: int, precision: str) -> None:
        super().__init__(d_sae, b_dec, seed, precision)
        self.parameters["W_enc"].mul_(ENCODER_NORM)

    def set_gradients(self, gradients: dict[str, Tensor]) -> None:
        """Set the gradients, without the component of W_dec's along its rows, which would only change their norms."""
        W_dec = self.parameters["W_dec"]
        along = (gradients["W_dec"] * W_dec).sum(dim=1, keepdim=True)
        gradients["W_dec"] -= along * W_dec
        super().set_gradients(gradients)

    def after_step(self) -> None:
        W_dec = self.parameters["W_dec"]
        normalize(W_dec, dim=1, out=W_dec)

    def as_jumprelu(self, threshold: Tensor, scale: float) -> dict[str, Any]:
        """Fields of a jumprelu `Dictionary`, given its threshold (d_sae,) in units of scaled activations."""
        return self._linear(scale) | {"activation": "jumprelu", "threshold": threshold.clamp_min(0) / scale}

    def as_topk(self, k: int, scale: float) -> dict[str, Any]:
        """Fields of a topk `Dictionary`."""
        return self._linear(scale) | {"activation": "topk", "k": k}

    def _linear(self, scale: float) -> dict[str, Any]:
        p = self.parameters
        return {
            "W_enc": p["W_enc"], "b_enc": p["b_enc"] / scale, "W_dec": p["W_dec"], "b_dec": p["b_dec"] / scale,
            "apply_b_dec_to_input": True,
        }  # fmt: skip


def variance(x: Tensor) -> float:
    """Total squared distance of the rows from their mean."""
    return (x - x.mean(dim=0)).square().sum().clamp_min(1e-12).item()
