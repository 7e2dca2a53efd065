"""What every objective is to the trainer, and what the objectives share.

Rows are activations scaled to a mean squared norm of d. Weights are row-major as in `sae.dictionary`: `W_enc`, `W_dec`
(d_sae, d_in), `b_enc` (d_sae,), `b_dec` (d_in,). Gradients are written out, because all but one of the products are sparse:
autograd would compute them densely, at several times the cost.
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
    """Figures of one step: mean loss, features active a token, fraction of variance unexplained, which fired (d_sae,)."""

    loss: float
    l0: float
    fvu: float
    fired: Tensor


class Objective(ABC):
    """One way to train: `parameters` are what the optimiser moves.

    Starts with `W_enc = W_dec`, random rows of norm `row_norm`, and the given decoder bias. `precision` "bfloat16" rounds
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
        """Put the gradients of the loss on rows x (n, d) into `parameters`; `progress` is in 0..1, `dead` bool (d_sae,)."""

    @abstractmethod
    def exported(self, scale: float) -> dict[str, Any]:
        """Fields of the `Dictionary` that reads activations before they were scaled by `scale`."""

    def after_step(self) -> None:  # noqa: B027
        """Called after each step of the optimiser."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint has to hold besides the parameters."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:  # noqa: B027
        """Go on from what `state` returned."""

    def product(self, a: Tensor, b: Tensor) -> Tensor:
        """The dense product a @ b, float32."""
        return (a.bfloat16() @ b.bfloat16()).float() if self.precision == "bfloat16" else a @ b

    @property
    def b_enc(self) -> Tensor:
        """The encoder's bias (d_sae,)."""
        return self.parameters["b_enc"]

    def encoded(self, x: Tensor) -> Tensor:
        """Pre-activations (n, d_sae) of x (n, d)."""
        W_enc, b_enc = self.parameters["W_enc"], self.b_enc
        return torch.addmm(b_enc, x, W_enc.T) if self.precision != "bfloat16" else self.product(x, W_enc.T) + b_enc

    def put(self, gradients: dict[str, Tensor]) -> None:
        """Hand the gradients to the optimiser."""
        for name, gradient in gradients.items():
            self.parameters[name].grad = gradient


ENCODER_NORM = 0.1
"""Norm of the encoder's rows at the start: with 1, the k largest of many random features would overshoot their input."""


class UnitDecoder(Objective):
    """An objective whose decoder rows keep norm 1, and which centres its input by the decoder's bias."""

    def __init__(self, d_sae: int, b_dec: Tensor, seed: int, precision: str) -> None:
        super().__init__(d_sae, b_dec, seed, precision)
        self.parameters["W_enc"].mul_(ENCODER_NORM)

    def put(self, gradients: dict[str, Tensor]) -> None:
        """Hand over the gradients, less the part of W_dec's that would only change the rows' norms."""
        W_dec = self.parameters["W_dec"]
        along = (gradients["W_dec"] * W_dec).sum(dim=1, keepdim=True)
        gradients["W_dec"] -= along * W_dec
        super().put(gradients)

    def after_step(self) -> None:
        W_dec = self.parameters["W_dec"]
        normalize(W_dec, dim=1, out=W_dec)

    def as_jumprelu(self, threshold: Tensor, scale: float) -> dict[str, Any]:
        """Fields of a jumprelu `Dictionary` with this threshold (d_sae,), which is in the units of scaled activations."""
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
