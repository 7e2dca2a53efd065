"""The encoder of an object in memory whose equations are not known: it is called."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from sae.objects.calls import Called, evaluating


@dataclass(frozen=True)
class CalledEncoder:
    """Calls an object's `encode`, out of training mode. `x` (n, d_in): values by which it is told from others."""

    called: Called
    x: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Features (n, d_sae), float32 on x's device, of x (n, d_in)."""
        with torch.no_grad(), evaluating(self.called.given):
            return self.called.encode(x)

    @cached_property
    def fingerprint(self) -> str:
        """sha-256, in hex, of the object's class, of its tensors, and of its features, which no tensor of it may decide.

        Features count in bfloat16, so that rounding rarely makes another object of it.
        """
        digest = hashlib.sha256(f"{type(self.called.given).__module__}.{self.called.name}".encode())
        for name, tensor in [*sorted(self.called.tensors.items()), ("features", self(self.x).bfloat16())]:
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.cpu().reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()
