"""An object with `encode` and `decode` as functions of rows, and its tensors, whatever it calls them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from sae.errors import DictionaryError, one_line

_GATE = (("b_gate", "gate_bias"), ("r_mag",), ("b_mag", "mag_bias"))
"""Names of a gated encoder's vectors in SAELens and dictionary_learning."""


Layout = Literal["rows", "columns", "sequence", "heads"]
"""How an object takes n values: (n, width), (width, n), as one sequence (1, n, width), or as n with an axis of heads, (n, 1, width)."""
LAYOUTS: tuple[Layout, ...] = get_args(Layout)


@dataclass(frozen=True)
class Called:
    """How an object is called: in which layout and precision, and whether it returns the active features alone."""

    given: Any
    name: str
    tensors: Mapping[str, Tensor]
    layout: Layout
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def of(cls, given: Any, x: Tensor) -> Called:
        """The way in which the object encodes x (n, d_in). Raises `DictionaryError` if there is none."""
        tensors = {name: tensor for name, tensor in _tensors(given).items() if tensor.is_floating_point()}
        first = next(iter(tensors.values()), x)
        name = type(given).__name__
        errors = []
        for layout in LAYOUTS:
            called = cls(given, name, tensors, layout, first.dtype, first.device)
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
        out = self.given.encode(self._laid_out(x))
        if hasattr(out, "top_acts"):  # sparsify: values and indices of the active features
            out = torch.zeros(len(x), self._width(out), device=self.device).scatter_(
                1, out.top_indices, out.top_acts.float()
            )
        return self._rows(out, x)

    def decode(self, f: Tensor, x: Tensor) -> Tensor:
        """Reconstruction (n, d_out), float32 on f's device, of features f (n, d_sae).

        x (n, d_in) is encoded before, because some objects keep its scale for decoding. Raises `DictionaryError`.
        """
        try:
            self.encode(x)
            if hasattr(self.given, "num_latents"):
                indices = torch.arange(f.shape[1], device=self.device).expand(f.shape)
                out = self.given.decode(f.to(self.device, self.dtype), indices)
            else:
                out = self.given.decode(f.to(self.device, self.dtype) if self.layout == "heads" else self._laid_out(f))
        except Exception as error:  # of whatever type the object's library raises
            raise DictionaryError(
                f"dictionary {self.name} does not decode features of shape {tuple(f.shape)} by themselves ({one_line(error, most=120)})"
            ) from None
        rows = self._rows(out, f)
        if rows.ndim != 2 or len(rows) != len(f):
            raise DictionaryError(
                f"dictionary {self.name} decodes features of shape {tuple(f.shape)} to the shape {tuple(rows.shape)}: it has to return"
                " a row for each"
            )
        return rows

    def _laid_out(self, rows: Tensor) -> Tensor:
        given = rows.to(self.device, self.dtype)
        if self.layout == "columns":
            return given.T
        return given[None] if self.layout == "sequence" else given[:, None] if self.layout == "heads" else given

    def _rows(self, out: Any, like: Tensor) -> Tensor:
        """An answer as rows, float32 on the device of `like`."""
        out = out[0] if isinstance(out, tuple) else out
        out = out.to_dense() if out.layout is not torch.strided else out
        if self.layout == "columns":
            out = out.T
        elif self.layout == "sequence":
            out = out[0]
        elif self.layout == "heads":
            out = out.flatten(1)
        rows: Tensor = out.detach().float().to(like.device)
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
    """The object's tensors by name, detached: parameters and buffers of modules, attributes of anything else."""
    named = {} if isinstance(given, nn.Module) else {name: v for name, v in _attributes(given) if isinstance(v, Tensor)}
    for module in _modules(given):
        named |= {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {name: tensor.detach() for name, tensor in named.items()}


def _modules(given: Any) -> list[nn.Module]:
    """The object if it is a module, or the modules that it holds."""
    if isinstance(given, nn.Module):
        return [given]
    return [value for _, value in _attributes(given) if isinstance(value, nn.Module)]


def _attributes(given: Any) -> Iterable[tuple[str, Any]]:
    attributes: dict[str, Any] = getattr(given, "__dict__", {})
    return attributes.items()


@contextmanager
def evaluating(given: Any) -> Iterator[None]:
    """Within the block, an object's modules are out of training mode, in which some encode by other rules."""
    training = [part for module in _modules(given) for part in module.modules() if part.training]
    try:
        for module in training:
            module.training = False
        yield
    finally:
        for module in training:
            module.training = True
