"""Dictionaries: sparse autoencoders as plain tensors and equations, whatever file they came from."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import linear

from sae.errors import DictionaryError

Activation = Literal["relu", "jumprelu", "topk"]
InputNorm = Literal["none", "scale", "layer_norm", "per_token"]

_LAYER_NORM_EPS = 1e-5
_TOPK_ELEMENTS = 1 << 26


@dataclass(frozen=True, eq=False)
class Dictionary:
    """One trained sparse autoencoder at one hook point.

        x' = norm(x)                              none | x * input_scale | layer norm | x * sqrt(d_in) / ||x||
        z  = (x' - c * b_dec) @ W_enc.T + b_enc   c = 1 when apply_b_dec_to_input, else 0
        f  = act(z)                               feature activations (..., d_sae)
        x_hat = denorm(f @ W_dec + b_dec)

        act:  relu      max(z, 0)
              jumprelu  z where z > threshold, else 0       (threshold >= 0)
              topk      max(z, 0) where z is among its token's k largest, else 0

    The activation of feature i is `f_i * ||W_dec_i||`, its contribution's norm, as in Scaling Monosemanticity. A batch-wise TopK
    runs as jumprelu with its stored threshold, a gated encoder as its exact jumprelu equivalent, and a format that scales z by
    the decoder norm before selecting is folded to decoder rows of norm 1. Layer norm divides by the unbiased standard
    deviation plus 1e-5, as SAELens does.

    Shapes: `W_enc`, `W_dec` (d_sae, d_in) row-major; `b_enc`, `threshold` (d_sae,); `b_dec` (d_in,). Raises `DictionaryError` when
    shapes disagree, a value is not finite, a threshold is negative, or k is not in 1..d_sae.
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
    architecture: str = ""
    """As the file calls it."""
    path: str = "dictionary"
    """Where it came from; names it in messages."""
    format: str = ""

    def __post_init__(self) -> None:
        if self.W_enc.ndim != 2 or 0 in self.W_enc.shape:
            raise DictionaryError(f"{self.path}: W_enc has shape {tuple(self.W_enc.shape)}, not (d_sae, d_in)")
        rows, columns = (self.d_sae,), (self.d_in,)
        shapes = {"b_enc": rows, "W_dec": (self.d_sae, self.d_in), "b_dec": columns, "threshold": rows}
        for name, shape in shapes.items():
            tensor = getattr(self, name)
            if tensor is not None and tuple(tensor.shape) != shape:
                raise DictionaryError(
                    f"{self.path}: {name} has shape {tuple(tensor.shape)} where W_enc (d_sae {self.d_sae}, d_in {self.d_in}) asks"
                    f" for {shape}: the file is damaged or of another format"
                )
        for name, tensor in self._tensors().items():
            if not bool(torch.isfinite(tensor).all()):
                raise DictionaryError(
                    f"{self.path}: {name} holds NaN or infinite values: the training or the file is broken"
                )
        self._check_activation()

    def _check_activation(self) -> None:
        if (self.activation == "jumprelu") != (self.threshold is not None):
            raise DictionaryError(
                f"{self.path}: activation {self.activation} does not go with threshold = {self.threshold}"
            )
        if self.threshold is not None and bool((self.threshold < 0).any()):
            raise DictionaryError(
                f"{self.path}: threshold {self.threshold.min().item():g} is negative: it must be 0 or more"
            )
        if self.activation == "topk" and not (isinstance(self.k, int) and 1 <= self.k <= self.d_sae):
            raise DictionaryError(f"{self.path}: k = {self.k} is not in 1..{self.d_sae}, the number of features")

    @property
    def d_sae(self) -> int:
        """Number of features."""
        return int(self.W_enc.shape[0])

    @property
    def d_in(self) -> int:
        """Width of the activations it reads."""
        return int(self.W_enc.shape[1])

    @cached_property
    def decoder_norm(self) -> Tensor:
        """Norm of each decoder row, float32 (d_sae,)."""
        norm: Tensor = torch.linalg.vector_norm(self.W_dec.float(), dim=1)
        return norm

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
        digest = hashlib.sha256(json.dumps(config).encode())
        for name, tensor in self._tensors().items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def encode(self, x: Tensor, features: Tensor | None = None) -> Tensor:
        """Feature activations f of x (..., d_in): (..., d_sae), or (..., n) for the n indices in `features`.

        relu and jumprelu compute only the wanted rows; topk has to compute all of them.
        """
        x = self._normalise(x.to(self.W_enc.dtype))
        if self.apply_b_dec_to_input:
            x = x - self.b_dec
        if self.activation == "topk":
            return self._topk(x, features)
        pick = slice(None) if features is None else features
        z = linear(x, self.W_enc[pick], self.b_enc[pick])
        return z.relu() if self.threshold is None else torch.where(z > self.threshold[pick], z, 0.0)

    def activations(self, x: Tensor, features: Tensor | None = None) -> Tensor:
        """`f_i * ||W_dec_i||` of x (..., d_in): (..., d_sae), or (..., n) for the n indices in `features`; 0 or more."""
        return self.encode(x, features) * (self.decoder_norm if features is None else self.decoder_norm[features])

    def decode(self, f: Tensor, x: Tensor | None = None) -> Tensor:
        """Reconstruction (..., d_in) of f (..., d_sae).

        Under layer_norm and per_token the scale to restore is the input's own: without `x` (..., d_in), the
        reconstruction stays normalised.
        """
        out: Tensor = f.to(self.W_dec.dtype) @ self.W_dec + self.b_dec
        if self.input_norm == "scale":
            return out / self.input_scale
        if x is None or self.input_norm == "none":
            return out
        x = x.to(out.dtype)
        if self.input_norm == "layer_norm":
            deviation: Tensor = torch.std(x, dim=-1, keepdim=True)
            return out * deviation + x.mean(dim=-1, keepdim=True)
        length: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return out * length / math.sqrt(self.d_in)

    def to(self, device: torch.device | str, dtype: torch.dtype = torch.float32) -> Dictionary:
        """The same dictionary elsewhere or in another precision; it keeps its fingerprint."""
        moved = {name: tensor.to(device=device, dtype=dtype) for name, tensor in self._tensors().items()}
        if all(moved[name] is tensor for name, tensor in self._tensors().items()):
            return self
        new = replace(self, **moved)  # type: ignore[arg-type]
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
        tensors = {"W_enc": self.W_enc, "b_enc": self.b_enc, "W_dec": self.W_dec, "b_dec": self.b_dec}
        return tensors if self.threshold is None else tensors | {"threshold": self.threshold}

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

    def _topk(self, x: Tensor, features: Tensor | None) -> Tensor:
        """Encode a few tokens at a time, so that memory does not grow with tokens times d_sae."""
        parts = torch.split(x.reshape(-1, self.d_in), max(1, _TOPK_ELEMENTS // self.d_sae))
        f = torch.cat([self._topk_rows(part, features) for part in parts])
        return f.reshape(*x.shape[:-1], f.shape[-1])

    def _topk_rows(self, x: Tensor, features: Tensor | None) -> Tensor:
        assert self.k is not None
        z = linear(x, self.W_enc, self.b_enc)
        values, indices = z.topk(self.k, dim=-1, sorted=False)
        if features is None:
            return torch.zeros_like(z).scatter_(-1, indices, values.relu())
        chosen = torch.zeros_like(z, dtype=torch.bool).scatter_(-1, indices, True)
        return z[:, features].relu() * chosen[:, features]


def load_dictionary(
    path: str, *, format: str = "auto", hook_point: str | None = None, revision: str | None = None
) -> Dictionary:
    """Load a dictionary from a folder or file, or from the hub as `owner/name[/folder/inside]`.

    `format` is "saelens", "gemma_scope", "sparsify", or "auto" to go by the files. `hook_point` overrides the dictionary's own.
    Raises `DictionaryError`, always one line; nothing in the files is ever executed.
    """
    from sae import formats

    return formats.load(path, format=format, hook_point=hook_point, revision=revision)
