"""Dictionaries: sparse autoencoders and transcoders as plain tensors and equations, whatever file format they came from."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.functional import linear

from sae.errors import DictionaryError

Activation = Literal["relu", "jumprelu", "topk", "groupmax", "called"]
InputNorm = Literal["none", "scale", "layer_norm", "per_token"]

CROSS_LAYER = "cross_layer_transcoder"
_LAYER_NORM_EPS = 1e-5
_TOPK_ELEMENTS = 1 << 26
"""Pre-activations from which topk and groupmax choose at a time, and features that an encoder that is called returns at a time."""
_CHUNK_ELEMENTS = 1 << 22
"""Elements of a tensor that are processed together, so that a wide dictionary's file is never in memory twice."""


class Encoder(Protocol):
    """An encoder that is no equation of `Dictionary`, such as one of an object in memory."""

    @property
    def fingerprint(self) -> str:
        """A hash of everything that decides its features, as it is now."""

    def __call__(self, x: Tensor) -> Tensor:
        """Features (n, d_sae), float32 on x's device, of x (n, d_in); those of a row depend on it alone. One below 0 is not active."""


class FeatureRows(NamedTuple):
    """The encoders of n features, contiguous float32: `W_enc` (n, d_in), `b_enc`, `threshold` and `decoder_norm` (n,)."""

    W_enc: Tensor
    b_enc: Tensor
    threshold: Tensor | None
    decoder_norm: Tensor


@dataclass(frozen=True, eq=False)
class Dictionary:
    """One trained sparse autoencoder at one hook point, or a transcoder from one hook point to another.

        x' = norm(x)                              none | x * input_scale | layer norm | x * sqrt(d_in) / ||x||
        z  = (x' - c * b_dec) @ W_enc.T + b_enc   c = 1 when apply_b_dec_to_input, else 0
        f  = act(z)                               feature activations (..., d_sae)
        x_hat = denorm(f @ W_dec + b_dec) + x @ W_skip.T

        act:  relu      max(z, 0)
              jumprelu  z where z > threshold, else 0       (threshold >= 0)
              topk      max(z, 0) where z is among its token's k largest, else 0
              groupmax  max(z, 0) where z is the largest of its group, else 0; feature i is in group i // (d_sae / k)
              called    f = encoder(x') instead of z and act; W_enc is `no_weights`, b_enc is 0

    The activation of feature i is `f_i * ||W_dec_i||`, the norm of its contribution, as in Scaling Monosemanticity. A batch-wise
    TopK runs as jumprelu with its stored threshold, a gated encoder as the jumprelu that equals it, and a format that scales z by
    the decoder norm before it selects is folded to decoder rows of norm 1. Layer norm divides by the unbiased standard
    deviation plus 1e-5, as SAELens does.

    Shapes: `W_enc` (d_sae, d_in); `W_dec` (d_sae, d_out); `b_enc`, `threshold` (d_sae,); `b_dec` (d_out,); `W_skip` (d_out, d_in).
    They may be views of a mapped file in its own precision; arithmetic is in `dtype`. Raises `DictionaryError` if shapes
    disagree, a value is not finite, a threshold is negative, or k does not fit d_sae.
    """

    W_enc: Tensor
    b_enc: Tensor
    W_dec: Tensor
    b_dec: Tensor
    activation: Activation
    hook_point: str
    threshold: Tensor | None = None
    k: int | None = None
    encoder: Encoder | None = None
    apply_b_dec_to_input: bool = False
    input_norm: InputNorm = "none"
    input_scale: float = 1.0
    hook_point_out: str | None = None
    """The hook point that a transcoder writes to; None for an autoencoder, which reconstructs its input."""
    W_skip: Tensor | None = None
    output_scale: float | None = None
    """Divisor of the output under `scale`, if it is not `input_scale`."""
    architecture: str = ""
    """The file's own name of the architecture."""
    path: str = "dictionary"
    """Where the dictionary came from; names it in messages."""
    format: str = ""
    notes: tuple[str, ...] = ()
    """What was folded, assumed or left out when the file was read, one clause each."""
    trained_with_bos: bool | None = None
    """Whether each context began with BOS in training; None if the files do not say."""
    trained_context: int | None = None
    """Tokens of a context in training; None if the files do not say."""
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        if self.W_enc.ndim != 2 or 0 in self.W_enc.shape:
            raise DictionaryError(f"{self.path}: W_enc has shape {tuple(self.W_enc.shape)}, not (d_sae, d_in)")
        self._check_shapes()
        for name, tensor in self._tensors().items():
            if not all(bool(torch.isfinite(chunk).all()) for chunk in _chunks(tensor)):
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
                    f"{self.path}: {name} has shape {tuple(tensor.shape)}, but W_enc (d_sae {self.d_sae}, d_in {self.d_in}) requires"
                    f" {shape}: the file is damaged or of another format"
                )
        if self.apply_b_dec_to_input and d_out != self.d_in:
            raise DictionaryError(
                f"{self.path}: b_dec has {d_out} dimensions and cannot be subtracted from an input of {self.d_in}"
            )

    def _check_activation(self) -> None:
        if (self.activation == "jumprelu") != (self.threshold is not None):
            raise DictionaryError(
                f"{self.path}: activation {self.activation} does not fit threshold = {self.threshold}"
            )
        if (self.activation == "called") != (self.encoder is not None):
            raise DictionaryError(f"{self.path}: activation {self.activation} does not fit encoder = {self.encoder}")
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
        """Width of the values that it reads."""
        return int(self.W_enc.shape[1])

    @property
    def d_out(self) -> int:
        """Width of the values that it writes; for an autoencoder, `d_in`."""
        return int(self.W_dec.shape[1])

    @property
    def reconstructs(self) -> bool:
        """Whether its output should equal the value at one hook point. False for cross-layer transcoders, which write to many."""
        return self.architecture != CROSS_LAYER

    @property
    def reconstructed_hook_point(self) -> str:
        """The hook point that its output should equal; if it reconstructs none, the one that it reads."""
        return (self.reconstructs and self.hook_point_out) or self.hook_point

    @cached_property
    def decoder_norm(self) -> Tensor:
        """Norm of each decoder row, float32 (d_sae,)."""
        rows = max(1, _CHUNK_ELEMENTS // self.d_out)
        return torch.cat([torch.linalg.vector_norm(part.float(), dim=1) for part in torch.split(self.W_dec, rows)])

    @cached_property
    def fingerprint(self) -> str:
        """sha-256, in hex, of the weights' bytes and of every setting that decides an activation."""
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
        if self.encoder is not None:
            config.append(self.encoder.fingerprint)
        digest = hashlib.sha256(json.dumps(config).encode())
        for name, tensor in self._tensors().items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            for chunk in _chunks(tensor):
                digest.update(chunk.detach().cpu().contiguous().view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def feature_rows(self, features: Tensor | None = None, device: torch.device | str = "cpu") -> FeatureRows:
        """Copies of the encoders of the n indices in `features`, or of all features, for repeated use.

        Of a mapped file only these rows are read.
        """
        index = slice(None) if features is None else features.to(self.W_enc.device)

        def copied(tensor: Tensor) -> Tensor:
            return tensor[index].to(device=device, dtype=torch.float32).contiguous()

        threshold = None if self.threshold is None else copied(self.threshold)
        norm = self.decoder_norm[index] if "decoder_norm" in self.__dict__ or features is None else None
        if norm is None:
            norm = torch.linalg.vector_norm(self.W_dec[index].float(), dim=1)
        return FeatureRows(copied(self.W_enc), copied(self.b_enc), threshold, norm.to(device))

    def prepare(self, x: Tensor) -> Tensor:
        """The encoder's input: x (..., d_in) normalised, minus b_dec if that is subtracted, in `dtype`."""
        x = self._normalise(x.to(self.dtype))
        return x - self.b_dec.to(x) if self.apply_b_dec_to_input else x

    def encode(self, x: Tensor, features: Tensor | None = None) -> Tensor:
        """Feature activations f of x (..., d_in): (..., d_sae), or (..., n) for the n indices in `features`.

        relu and jumprelu compute only these features; topk, groupmax and an encoder that is called have to compute all of them.
        """
        x = self.prepare(x)
        if self.encoder is not None:
            parts = torch.split(x.reshape(-1, self.d_in), max(1, _TOPK_ELEMENTS // self.d_sae))
            index = slice(None) if features is None else features
            f = torch.cat([self.encoder(part)[:, index] for part in parts])
            return f.to(x.dtype).reshape(*x.shape[:-1], f.shape[-1])
        if self.activation in ("topk", "groupmax"):
            return self._encode_competing(x, features)
        index = slice(None) if features is None else features
        z = linear(x, self.W_enc[index].to(x.dtype), self.b_enc[index].to(x.dtype))
        return z.relu() if self.threshold is None else torch.where(z > self.threshold[index].to(x.dtype), z, 0.0)

    def activations(self, x: Tensor, features: Tensor | None = None) -> Tensor:
        """`f_i * ||W_dec_i||` of x (..., d_in): (..., d_sae), or (..., n) for the n indices in `features`; 0 or more."""
        return self.encode(x, features).relu() * (
            self.decoder_norm if features is None else self.decoder_norm[features]
        )

    def decode(self, f: Tensor, x: Tensor | None = None) -> Tensor:
        """Reconstruction (..., d_out) of f (..., d_sae); a skip connection also needs the input x (..., d_in).

        Under layer_norm and per_token an autoencoder restores the scale of its input: without `x` the reconstruction stays
        normalised. A transcoder's output has no such scale. Raises `ValueError` for a skip connection without `x`.
        """
        return self.complete_decoding(f.to(self.dtype) @ self.W_dec.to(self.dtype), x)

    def complete_decoding(self, features_sum: Tensor, x: Tensor | None = None) -> Tensor:
        """The reconstruction (..., d_out), given `f @ W_dec`, which the caller may have summed in parts. Otherwise as `decode`."""
        out = self._denormalise(features_sum.to(self.dtype) + self.b_dec.to(self.dtype), x)
        if self.W_skip is None:
            return out
        if x is None:
            raise ValueError("a skip connection needs the input x to decode")
        return out + linear(x.to(out.dtype), self.W_skip.to(out.dtype))

    def to(self, device: torch.device | str, dtype: torch.dtype = torch.float32) -> Dictionary:
        """The same dictionary on another device or in another precision, with the same fingerprint."""
        moved = {name: tensor.to(device=device, dtype=dtype) for name, tensor in self._tensors().items()}
        if dtype == self.dtype and all(moved[name] is tensor for name, tensor in self._tensors().items()):
            return self
        new = replace(self, **moved, dtype=dtype)  # type: ignore[arg-type]
        new.__dict__["fingerprint"] = self.fingerprint
        new.__dict__["decoder_norm"] = self.decoder_norm.to(device)
        return new

    def check_fits(self, width: int, subject: str = "the subject") -> None:
        """Raise `DictionaryError` unless `width`, that of the subject's hook point, is `d_in`."""
        check_width(self.path, self.hook_point, self.d_in, width, subject)

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
            # A token of zeros has no direction: it stays zero instead of becoming NaN.
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

    def _encode_competing(self, x: Tensor, features: Tensor | None) -> Tensor:
        """Encode by topk or groupmax, a few tokens at a time, so that memory does not grow with tokens times d_sae."""
        W_enc, b_enc = self.W_enc.to(x.dtype), self.b_enc.to(x.dtype)
        parts = torch.split(x.reshape(-1, self.d_in), max(1, _TOPK_ELEMENTS // self.d_sae))
        f = torch.cat([self._keep_largest(linear(part, W_enc, b_enc), features) for part in parts])
        return f.reshape(*x.shape[:-1], f.shape[-1])

    def _keep_largest(self, z: Tensor, features: Tensor | None) -> Tensor:
        values, indices = self.select_largest(z)
        f = torch.zeros_like(z).scatter_(-1, indices, values)
        return f if features is None else f[:, features]

    def select_largest(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Values f and indices, each (n, k), of the features that topk or groupmax keeps, from pre-activations z (n, d_sae)."""
        assert self.k is not None
        if self.activation == "topk":
            values, indices = z.topk(self.k, dim=-1, sorted=False)
            return values.relu(), indices
        groups = z.reshape(len(z), self.k, -1)
        values, within = groups.max(dim=-1)
        return values.relu(), within + torch.arange(self.k, device=z.device) * groups.shape[-1]


def no_weights(d_sae: int, d_in: int, device: torch.device | str = "cpu") -> Tensor:
    """W_enc (d_sae, d_in) of a dictionary whose encoder is called: zeros, which take no memory."""
    return torch.zeros(1, 1, device=device).expand(d_sae, d_in)


def check_width(path: str, hook_point: str, d_in: int, width: int, subject: str = "the subject") -> None:
    """Raise `DictionaryError` unless `width`, that of the subject's hook point, is the dictionary's `d_in`."""
    if width != d_in:
        raise DictionaryError(
            f"{path} reads {d_in} dimensions, but {hook_point} of {subject} has {width}: it was trained on"
            " another model or hook point (set dictionary.hook_point, or change the subject)"
        )


def _chunks(tensor: Tensor) -> Iterator[Tensor]:
    """A tensor's rows in chunks of about `_CHUNK_ELEMENTS`."""
    width = tensor[0].numel() if tensor.ndim > 1 else 1
    yield from torch.split(tensor, max(1, _CHUNK_ELEMENTS // max(1, width)))
