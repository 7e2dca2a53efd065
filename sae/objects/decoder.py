"""The decoder of an object in memory, found by running it, up to the normalisation of its input that decoding undoes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from sae.dictionary import Dictionary, InputNorm
from sae.errors import DictionaryError
from sae.objects.calls import Called

NORMS: tuple[InputNorm, ...] = ("none", "layer_norm", "per_token")
"""Normalisations of the input that an object may undo when it decodes."""
_ONE_HOTS = 1 << 28
"""Most elements of the one-hot features by which a decoder is read that is none of the object's tensors."""
_ROWS = 16
"""Sparse features on which a decoder is checked."""


@dataclass(frozen=True)
class Decoder:
    """`W` (d_sae, d_out) and `bias` (d_out,), at the scale of values that are normalised by `norm`."""

    W: Tensor
    bias: Tensor
    norm: InputNorm


def decoder_of(called: Called, d_sae: int, x: Tensor) -> Decoder:
    """The decoder, of the object's tensors if it is among them. x (n, d_in): values that the object reads.

    Raises `DictionaryError` if decode is not linear.
    """
    for norm in NORMS:
        if decoder := _under(norm, called, d_sae, x):
            return decoder
    raise DictionaryError(
        f"dictionary {called.name}: its decode is not a linear map of the features, so that no feature has a direction"
    )


def _under(norm: InputNorm, called: Called, d_sae: int, x: Tensor) -> Decoder | None:
    """The decoder if it is linear once this normalisation is undone."""
    generator = torch.Generator().manual_seed(0)
    shape = (_ROWS, d_sae)
    sparse = (torch.rand(shape, generator=generator) * (torch.rand(shape, generator=generator) < 0.1)).to(x)

    def decode(f: Tensor) -> Tensor:
        read = x[torch.arange(len(f), device=x.device) % len(x)]
        out = called.decode(f, read)
        if norm == "none":
            return out
        shift, scale = _of_token(norm, read)
        return (out - shift) / scale

    biases = decode(torch.zeros_like(sparse))
    bias = biases[0]
    if not close(biases, bias.expand_as(biases), called.tolerance, float(decode(sparse).abs().max())):
        return None
    target = decode(sparse) - bias
    bias = next((t for t in called.vectors(len(bias)) if close(t.to(bias), bias, called.tolerance)), bias)
    for W in _matrices(called, d_sae, len(bias)):
        if close(sparse @ W.to(x), target, called.tolerance):
            return Decoder(W, bias, norm)
    if d_sae * d_sae > _ONE_HOTS:
        return None
    one_hots = torch.split(torch.eye(d_sae, device=x.device), len(x))
    W = torch.cat([decode(part) for part in one_hots]) - bias
    return Decoder(W, bias, norm) if close(sparse @ W, target, called.tolerance) else None


def _matrices(called: Called, d_sae: int, d_out: int) -> Iterator[Tensor]:
    """The object's matrices, as they are and with rows of norm 1."""
    for W in called.matrices(d_sae, d_out):
        yield W
        yield normalize(W.float(), dim=1)


def _of_token(norm: InputNorm, x: Tensor) -> tuple[Tensor, Tensor]:
    """Shift and scale, (n, d_in), that undo the normalisation of x (n, d_in): those of `Dictionary.decode`."""
    width = x.shape[1]
    W = torch.zeros(1, width, device=x.device)
    blank = Dictionary(W_enc=W, b_enc=W[0, :1], W_dec=W, b_dec=W[0], activation="relu", hook_point="", input_norm=norm)
    shift = blank.complete_decoding(torch.zeros_like(x), x)
    return shift, blank.complete_decoding(torch.ones_like(x), x) - shift


def close(values: Tensor, target: Tensor, tolerance: float, size: float = 0.0) -> bool:
    """Whether values differ by at most the tolerance, relative to the largest value of the target or to `size`."""
    if values.shape != target.shape:
        return False
    if not target.numel():
        return True
    largest = max(size, float(target.abs().max()), 1e-12)
    return float((values - target).abs().max()) <= tolerance * largest
