"""An object with `encode` and `decode` as functions of rows, and its tensors, whatever it calls them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sae.errors import DictionaryError, one_line

_GATE = (("b_gate", "gate_bias"), ("r_mag",), ("b_mag", "mag_bias"))
"""Names of a gated encoder's vectors in SAELens and dictionary_learning."""


@dataclass(frozen=True)
class Called:
    """How an object is called: with rows or columns, in which precision, and whether it returns the active features alone."""

    given: Any
    name: str
    tensors: Mapping[str, Tensor]
    columns: bool
    """Whether it takes and returns (width, n) instead of (n, width)."""
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def of(cls, given: Any, x: Tensor) -> Called:
        """The way in which the object encodes x (n, d_in). Raises `DictionaryError` if there is none."""
        tensors = {name: tensor for name, tensor in _tensors(given).items() if tensor.is_floating_point()}
        first = next(iter(tensors.values()), x)
        name = type(given).__name__
        errors = []
        for columns in (False, True):
            called = cls(given, name, tensors, columns, first.dtype, first.device)
            try:
                f = called.encode(x)
            except Exception as error:  # whatever an object of another library raises for a shape that it does not take
                errors.append(one_line(error, most=120))
                continue
            if f.ndim == 2 and f.shape[0] == len(x):
                return called
            errors.append(f"encode returns the shape {tuple(f.shape)}")
        raise DictionaryError(
            f"dictionary {name} does not encode values of shape {tuple(x.shape)}, tokens by width ({errors[0]}): is it of this hook point?"
        )

    @property
    def tolerance(self) -> float:
        """Largest relative difference that its arithmetic explains."""
        return 1e-3 if self.dtype in (torch.float32, torch.float64) else 0.03

    def encode(self, x: Tensor) -> Tensor:
        """Features (n, d_sae), float32 on x's device, of x (n, d_in)."""
        given = x.to(self.device, self.dtype)
        out = self.given.encode(given.T if self.columns else given)
        if hasattr(out, "top_acts"):  # sparsify: values and indices of the active features
            out = torch.zeros(len(x), self._width(out), device=self.device).scatter_(
                1, out.top_indices, out.top_acts.float()
            )
        if isinstance(out, tuple):
            out = out[0]
        rows: Tensor = (out.T if self.columns else out).detach().float().to(x.device)
        return rows

    def decode(self, f: Tensor) -> Tensor:
        """Reconstruction (n, d_out), float32 on f's device, of features f (n, d_sae). Raises `DictionaryError`."""
        features = f.to(self.device, self.dtype)
        try:
            if hasattr(self.given, "num_latents"):
                indices = torch.arange(f.shape[1], device=self.device).expand(f.shape)
                out = self.given.decode(features, indices)
            else:
                out = self.given.decode(features.T if self.columns else features)
        except Exception as error:  # of whatever type the object's library raises
            raise DictionaryError(
                f"dictionary {self.name} does not decode features of shape {tuple(f.shape)} by themselves ({one_line(error, most=120)})"
            ) from None
        if isinstance(out, tuple):
            out = out[0]
        rows: Tensor = (out.T if self.columns else out).detach().float().to(f.device)
        return rows

    def _width(self, out: Any) -> int:
        return int(out.pre_acts.shape[-1]) if hasattr(out, "pre_acts") else int(self.given.num_latents)

    def matrices(self, rows: int, columns: int) -> Iterator[Tensor]:
        """The object's matrices as (rows, columns), either way round; those named as encoders or decoders come in the object's order."""
        for tensor in self.tensors.values():
            if tensor.shape == (rows, columns):
                yield tensor
            if tensor.shape == (columns, rows):
                yield tensor.T

    def vectors(self, length: int) -> Iterator[Tensor]:
        """The object's vectors of this length."""
        for tensor in self.tensors.values():
            if tensor.shape == (length,):
                yield tensor

    def thresholds(self, length: int) -> Iterator[Tensor]:
        """The object's vectors and numbers as thresholds (length,): as they are, and as logarithms of one."""
        for tensor in self.tensors.values():
            if tensor.numel() == 1 or tensor.shape == (length,):
                spread = tensor.reshape(-1).expand(length)
                yield spread.clamp_min(0)
                yield spread.float().exp()

    def gate(self, length: int) -> tuple[Tensor, ...]:
        """Bias of the gate, logarithm of the gain and bias of the magnitude (length,) of a gated encoder; empty if it is not gated."""
        found = [next((self.tensors[name] for name in names if name in self.tensors), None) for names in _GATE]
        return (
            tuple(t for t in found if t is not None and t.shape == (length,))
            if all(t is not None for t in found)
            else ()
        )


def _tensors(given: Any) -> dict[str, Tensor]:
    """The object's tensors by name, detached: parameters and buffers of a module, attributes of anything else."""
    if isinstance(given, nn.Module):
        named = {**dict(given.named_parameters()), **dict(given.named_buffers())}
    else:
        named = {name: value for name, value in vars(given).items() if isinstance(value, Tensor)}
    return {name: tensor.detach() for name, tensor in named.items()}


@contextmanager
def evaluating(given: Any) -> Iterator[None]:
    """Within the block, a module is out of training mode, in which some encode by other rules. Other objects are left as they are."""
    training = [module for module in given.modules() if module.training] if isinstance(given, nn.Module) else []
    try:
        for module in training:
            module.training = False
        yield
    finally:
        for module in training:
            module.training = True
