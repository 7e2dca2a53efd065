"""Dictionaries: sparse autoencoders and transcoders as plain tensors and equations, whatever file they came from."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear

from sae.errors import DictionaryError

Activation = Literal["relu", "jumprelu", "topk", "groupmax"]
InputNorm = Literal["none", "scale", "layer_norm", "per_token"]

CROSS_LAYER = "cross_layer_transcoder"
_LAYER_NORM_EPS = 1e-5
_TOPK_ELEMENTS = 1 << 26
_PIECE_ELEMENTS = 1 << 22
"""Elements of a tensor that are looked at together, so that a wide dictionary's file is never in memory twice."""


class Rows(NamedTuple):
    """Some features' encoders, contiguous float32: `W_enc` (n, d_in), `b_enc`, `threshold` and `decoder_norm` (n,)."""

    W_enc: Tensor
    b_enc: Tensor
    threshold: Tensor | None
    decoder_norm: Tensor


@dataclass(frozen=True, eq=False)
class Dictionary:
    """One trained sparse autoencoder at one hook point, or a transcoder from one to another.

        x' = norm(x)                              none | x * input_scale | layer norm | x * sqrt(d_in) / ||x||
        z  = (x' - c * b_dec) @ W_enc.T + b_enc   c = 1 when apply_b_dec_to_input, else 0
        f  = act(z)                               feature activations (..., d_sae)
        x_hat = denorm(f @ W_dec + b_dec) + x @ W_skip.T

        act:  relu      max(z, 0)
              jumprelu  z where z > threshold, else 0       (threshold >= 0)
              topk      max(z, 0) where z is among its token's k largest, else 0
              groupmax  max(z, 0) where z is the largest of its group, else 0; feature i is in group i // (d_sae / k)

    The activation of feature i is `f_i * ||W_dec_i||`, its contribution's norm, as in Scaling Monosemanticity. A batch-wise TopK
    runs as jumprelu with its stored threshold, a gated encoder as its exact jumprelu equivalent, and a format that scales z by
    the decoder norm before selecting is folded to decoder rows of norm 1. Layer norm divides by the unbiased standard
    deviation plus 1e-5, as SAELens does.

    Shapes: `W_enc` (d_sae, d_in); `W_dec` (d_sae, d_out); `b_enc`, `threshold` (d_sae,); `b_dec` (d_out,); `W_skip` (d_out, d_in).
    They may be views of a mapped file in its own precision; arithmetic is in `dtype`. Raises `DictionaryError` when shapes
    disagree, a value is not finite, a threshold is negative, or k does not go with d_sae.
    """

    W_enc: Tensor
    b_enc: Tensor
    W_dec: Tensor
    b_dec: Tensor
    activation: Activation
    hook_point: str
    threshold: Tensor | None = None
    k: int | None = None
    apply_b_dec_to_input: bool = False
    input_norm: InputNorm = "none"
    input_scale: float = 1.0
    hook_point_out: str | None = None
    """Where a transcoder's output belongs; an autoencoder, which reconstructs its input, has none."""
    W_skip: Tensor | None = None
    output_scale: float | None = None
    """What the output is divided by under `scale`, where it is not `input_scale`."""
    architecture: str = ""
    """As the file calls it."""
    path: str = "dictionary"
    """Where it came from; names it in messages."""
    format: str = ""
    notes: tuple[str, ...] = ()
    """What was folded, assumed or left out in reading it, a clause each."""
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        if self.W_enc.ndim != 2 or 0 in self.W_enc.shape:
            raise DictionaryError(f"{self.path}: W_enc has shape {tuple(self.W_enc.shape)}, not (d_sae, d_in)")
        self._check_shapes()
        for name, tensor in self._tensors().items():
            if not all(bool(torch.isfinite(piece).all()) for piece in _pieces(tensor)):
                raise DictionaryError(
                    f"{self.path}: {name} holds NaN or infinite values: the training or the file is broken"
                )
        self._check_activation()

    def _check_shapes(self) -> None:
        d_out = self.d_out if self.W_dec.ndim == 2 else self.d_in
        if self.hook_point_out is None:
            d_out = self.d_in
        rows = (self.d_sae,)
        shapes = {"b_enc": rows, "W_dec": (self.d_sae, d_out), "b_dec": (d_out,), "threshold": rows}
        shapes["W_skip"] = (d_out, self.d_in)
        for name, shape in shapes.items():
            tensor: Tensor | None = getattr(self, name)
            if tensor is not None and tuple(tensor.shape) != shape:
                raise DictionaryError(
                    f"{self.path}: {name} has shape {tuple(tensor.shape)} where W_enc (d_sae {self.d_sae}, d_in {self.d_in}) asks"
                    f" for {shape}: the file is damaged or of another format"
                )
        if self.apply_b_dec_to_input and d_out != self.d_in:
            raise DictionaryError(f"{self.path}: b_dec of {d_out} dimensions cannot be subtracted from {self.d_in}")

    def _check_activation(self) -> None:
        if (self.activation == "jumprelu") != (self.threshold is not None):
            raise DictionaryError(
                f"{self.path}: activation {self.activation} does not go with threshold = {self.threshold}"
            )
        if self.threshold is not None and bool((self.threshold < 0).any()):
            raise DictionaryError(
                f"{self.path}: threshold {self.threshold.min().item():g} is negative: it must be 0 or more"
            )
        if self.activation in ("topk", "groupmax") and not (isinstance(self.k, int) and 1 <= self.k <= self.d_sae):
            raise DictionaryError(f"{self.path}: k = {self.k} is not in 1..{self.d_sae}, the number of features")
        if self.activation == "groupmax" and self.d_sae % (self.k or 1):
            raise DictionaryError(f"{self.path}: {self.d_sae} features cannot be cut into k = {self.k} equal groups")

    @property
    def d_sae(self) -> int:
        """Number of features."""
        return int(self.W_enc.shape[0])

    @property
    def d_in(self) -> int:
        """Width of the activations it reads."""
        return int(self.W_enc.shape[1])

    @property
    def d_out(self) -> int:
        """Width of what it writes; an autoencoder's is `d_in`."""
        return int(self.W_dec.shape[1])

    @property
    def reconstructs(self) -> bool:
        """Whether its output is meant to equal what is at one hook point. A cross-layer transcoder's goes to many."""
        return self.architecture != CROSS_LAYER

    @cached_property
    def decoder_norm(self) -> Tensor:
        """Norm of each decoder row, float32 (d_sae,)."""
        rows = max(1, _PIECE_ELEMENTS // self.d_out)
        return torch.cat([torch.linalg.vector_norm(part.float(), dim=1) for part in torch.split(self.W_dec, rows)])

    @cached_property
    def fingerprint(self) -> str:
        """sha-256, in hex, of the weights' bytes and of everything else that decides an activation."""
        config = [
            self.activation,
            self.k,
            self.apply_b_dec_to_input,
            self.input_norm,
            self.input_scale,
            self.hook_point,
        ]
        if self.hook_point_out is not None:
            config += [self.hook_point_out, self.output_scale]
        digest = hashlib.sha256(json.dumps(config).encode())
        for name, tensor in self._tensors().items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            for piece in _pieces(tensor):
                digest.update(piece.detach().cpu().contiguous().view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def take(self, features: Tensor | None = None, device: torch.device | str = "cpu") -> Rows:
        """The encoders of the n indices in `features`, or of all, as they are needed over and over; only they are read."""
        pick = slice(None) if features is None else features.to(self.W_enc.device)

        def part(tensor: Tensor) -> Tensor:
            return tensor[pick].to(device=device, dtype=torch.float32).contiguous()

        threshold = None if self.threshold is None else part(self.threshold)
        norm = self.decoder_norm[pick] if "decoder_norm" in self.__dict__ or features is None else None
        if norm is None:
            norm = torch.linalg.vector_norm(self.W_dec[pick].float(), dim=1)
        return Rows(part(self.W_enc), part(self.b_enc), threshold, norm.to(device))

    def prepare(self, x: Tensor) -> Tensor:
        """What the encoder multiplies: x (..., d_in) normalised, and less b_dec where that is subtracted, in `dtype`."""
        x = self._normalise(x.to(self.dtype))
        return x - self.b_dec.to(x) if self.apply_b_dec_to_input else x

    def encode(self, x: Tensor, features: Tensor | None = None) -> Tensor:
        """Feature activations f of x (..., d_in): (..., d_sae), or (..., n) for the n indices in `features`.

        relu and jumprelu compute only the wanted rows; topk and groupmax have to compute all of them.
        """
        x = self.prepare(x)
        if self.activation in ("topk", "groupmax"):
            return self._selected(x, features)
        pick = slice(None) if features is None else features
        z = linear(x, self.W_enc[pick].to(x.dtype), self.b_enc[pick].to(x.dtype))
        return z.relu() if self.threshold is None else torch.where(z > self.threshold[pick].to(x.dtype), z, 0.0)

    def activations(self, x: Tensor, features: Tensor | None = None) -> Tensor:
        """`f_i * ||W_dec_i||` of x (..., d_in): (..., d_sae), or (..., n) for the n indices in `features`; 0 or more."""
        return self.encode(x, features) * (self.decoder_norm if features is None else self.decoder_norm[features])

    def decode(self, f: Tensor, x: Tensor | None = None) -> Tensor:
        """Reconstruction (..., d_out) of f (..., d_sae); a skip connection needs the input x (..., d_in) too.

        Under layer_norm and per_token an autoencoder's scale to restore is the input's own: without `x`, the reconstruction stays
        normalised. A transcoder's output has no such scale. Raises `ValueError` where a skip connection has no `x`.
        """
        return self.complete(f.to(self.dtype) @ self.W_dec.to(self.dtype), x)

    def complete(self, written: Tensor, x: Tensor | None = None) -> Tensor:
        """The reconstruction (..., d_out) where the features wrote `f @ W_dec`, which may have been summed in parts; else as `decode`."""
        out = self._denormalise(written.to(self.dtype) + self.b_dec.to(self.dtype), x)
        if self.W_skip is None:
            return out
        if x is None:
            raise ValueError("a skip connection is decoded with the input x")
        return out + linear(x.to(out.dtype), self.W_skip.to(out.dtype))

    def to(self, device: torch.device | str, dtype: torch.dtype = torch.float32) -> Dictionary:
        """The same dictionary elsewhere or in another precision; it keeps its fingerprint."""
        moved = {name: tensor.to(device=device, dtype=dtype) for name, tensor in self._tensors().items()}
        if dtype == self.dtype and all(moved[name] is tensor for name, tensor in self._tensors().items()):
            return self
        new = replace(self, **moved, dtype=dtype)  # type: ignore[arg-type]
        new.__dict__["fingerprint"] = self.fingerprint
        new.__dict__["decoder_norm"] = self.decoder_norm.to(device)
        return new

    def check_fits(self, width: int, subject: str = "the subject") -> None:
        """Raise `DictionaryError` unless the subject's hook point is `d_in` wide."""
        if width != self.d_in:
            raise DictionaryError(
                f"{self.path} reads {self.d_in} dimensions, but {self.hook_point} of {subject} has {width}: it was trained on"
                " another model or hook point (set dictionary.hook_point, or change the subject)"
            )

    def _tensors(self) -> dict[str, Tensor]:
        names = ("W_enc", "b_enc", "W_dec", "b_dec", "threshold", "W_skip")
        return {name: tensor for name in names if (tensor := getattr(self, name)) is not None}

    def _normalise(self, x: Tensor) -> Tensor:
        if self.input_norm == "scale":
            return x * self.input_scale
        if self.input_norm == "layer_norm":
            centred = x - x.mean(dim=-1, keepdim=True)
            deviation: Tensor = torch.std(centred, dim=-1, keepdim=True)
            return centred / (deviation + _LAYER_NORM_EPS)
        if self.input_norm == "per_token":
            length: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
            # An all-zero token has no direction; it stays zero instead of becoming NaN.
            return x * (math.sqrt(self.d_in) / length.clamp_min(1e-12))
        return x

    def _denormalise(self, out: Tensor, x: Tensor | None) -> Tensor:
        if self.input_norm == "scale":
            return out / (self.input_scale if self.output_scale is None else self.output_scale)
        if x is None or self.input_norm == "none" or self.hook_point_out is not None:
            return out
        x = x.to(out.dtype)
        if self.input_norm == "layer_norm":
            deviation: Tensor = torch.std(x, dim=-1, keepdim=True)
            return out * deviation + x.mean(dim=-1, keepdim=True)
        length: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return out * length / math.sqrt(self.d_in)

    def _selected(self, x: Tensor, features: Tensor | None) -> Tensor:
        """Encode a few tokens at a time, so that memory does not grow with tokens times d_sae."""
        W_enc, b_enc = self.W_enc.to(x.dtype), self.b_enc.to(x.dtype)
        parts = torch.split(x.reshape(-1, self.d_in), max(1, _TOPK_ELEMENTS // self.d_sae))
        f = torch.cat([self._select(linear(part, W_enc, b_enc), features) for part in parts])
        return f.reshape(*x.shape[:-1], f.shape[-1])

    def _select(self, z: Tensor, features: Tensor | None) -> Tensor:
        values, indices = self.largest(z)
        f = torch.zeros_like(z).scatter_(-1, indices, values)
        return f if features is None else f[:, features]

    def largest(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Values f and indices, each (n, k), of the features that topk or groupmax keeps of pre-activations z (n, d_sae)."""
        assert self.k is not None
        if self.activation == "topk":
            values, indices = z.topk(self.k, dim=-1, sorted=False)
            return values.relu(), indices
        groups = z.reshape(len(z), self.k, -1)
        values, within = groups.max(dim=-1)
        return values.relu(), within + torch.arange(self.k, device=z.device) * groups.shape[-1]


def _pieces(tensor: Tensor) -> Iterator[Tensor]:
    """A tensor's rows, as many at a time as are of moderate size."""
    width = tensor[0].numel() if tensor.ndim > 1 else 1
    yield from torch.split(tensor, max(1, _PIECE_ELEMENTS // max(1, width)))
