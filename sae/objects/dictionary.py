"""A dictionary from an object in memory that has `encode` and `decode`, of any library or one's own.

Nothing is assumed about the names or the orientation of its weights. The object encodes and decodes values of the subject, and the
equations of `sae.dictionary.Dictionary` that give the same features are looked for among its tensors: encoder and decoder either way
round, a bias subtracted before or not, relu, jumprelu with any of its tensors as threshold, topk, or a gate.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sae.dictionary import Dictionary
from sae.errors import DictionaryError
from sae.formats.folding import fold_gate
from sae.objects.calls import Called, evaluating

TOKENS = 257
"""Values that the object encodes to be understood: no width of a model or dictionary, so that shapes tell rows from columns."""
_DISAGREEING = 1e-4
"""Largest share of features that may be active in one of the two only, as rounding makes a few."""
_ONE_HOTS = 1 << 28
"""Most elements of the one-hot features by which a decoder is read that is none of the object's tensors."""


def dictionary_of(given: Any, hook_point: str, x: Tensor, *, trained_with_bos: bool | None = None) -> Dictionary:
    """The dictionary of an object, with the same activations: checked on x (n, d_in), float32 values of the subject at `hook_point`.

    Weights are shared with the object, so they are those of the moment when they are used. Raises `DictionaryError` if it has no
    `encode` and `decode`, does not read values of this width, or encodes in another way than those above.
    """
    name = type(given).__name__
    if isinstance(given, Dictionary):
        return replace(given, hook_point=hook_point)
    for method in ("encode", "decode"):
        if not callable(getattr(given, method, None)):
            raise DictionaryError(
                f"dictionary {name} has no method {method}: give an object with encode and decode, or a path"
            )
    x = x[:TOKENS]
    with torch.no_grad(), evaluating(given):
        called = Called.of(given, x)
        f = called.encode(x)
        W_dec, b_dec = _decoder(called, f)
        for candidate in _candidates(called, f, x, W_dec, b_dec, hook_point):
            if _encodes_alike(candidate, f, x, called.tolerance):
                return replace(candidate, trained_with_bos=trained_with_bos)
    raise DictionaryError(
        f"dictionary {name}: its encode is none of the known forms (relu, jumprelu, topk or gated, of one linear map): save it in a format"
        " of docs/dictionaries.md"
    )


def _decoder(called: Called, f: Tensor) -> tuple[Tensor, Tensor]:
    """W_dec (d_sae, d_out) and b_dec (d_out,), of the object's tensors if they are among them. Raises `DictionaryError` if decode is
    not linear."""
    d_sae = f.shape[1]
    bias = called.decode(torch.zeros_like(f[:1]))[0]
    generator = torch.Generator().manual_seed(0)
    sparse = (torch.rand((16, d_sae), generator=generator) * (torch.rand((16, d_sae), generator=generator) < 0.1)).to(f)
    target = called.decode(sparse) - bias
    b_dec = next((t for t in called.vectors(len(bias)) if _close(t.float(), bias, called.tolerance)), bias)
    for W in called.matrices(d_sae, len(bias)):
        if _close(sparse @ W.float(), target, called.tolerance):
            return W, b_dec
    if d_sae * d_sae <= _ONE_HOTS:
        W = called.decode(torch.eye(d_sae, device=f.device)) - bias
        if _close(sparse @ W, target, called.tolerance):
            return W, b_dec
    raise DictionaryError(
        f"dictionary {called.name}: its decode is not a linear map of the features, so that no feature has a direction"
    )


def _candidates(
    called: Called, f: Tensor, x: Tensor, W_dec: Tensor, b_dec: Tensor, hook_point: str
) -> Iterator[Dictionary]:
    """Dictionaries that have the object's values where its features are active; which others are active may differ."""
    d_sae, active = f.shape[1], f > 0
    shared: dict[str, Any] = {"W_dec": W_dec, "b_dec": b_dec, "hook_point": hook_point, "architecture": called.name}
    shared |= {"path": f"object:{called.name}", "format": "object"}
    gate = called.gate(d_sae)
    for W, centred in itertools.product(called.matrices(d_sae, x.shape[1]), (False, True)):
        if centred and len(b_dec) != x.shape[1]:
            continue
        inputs = x - b_dec.to(x) if centred else x
        parts = shared | {"apply_b_dec_to_input": centred}
        z = inputs @ W.to(x).T
        for bias in (*called.vectors(d_sae), torch.zeros(d_sae, device=x.device)):
            if _close((z + bias.to(x))[active], f[active], called.tolerance):
                yield from _activations(called, active, parts | {"W_enc": W, "b_enc": bias})
        if gate:
            W_enc, b_enc, threshold = fold_gate(W, *gate)
            if _close((inputs @ W_enc.to(x).T + b_enc.to(x))[active], f[active], called.tolerance):
                yield Dictionary(**parts, W_enc=W_enc, b_enc=b_enc, activation="jumprelu", threshold=threshold)


def _activations(called: Called, active: Tensor, parts: dict[str, Any]) -> Iterator[Dictionary]:
    """The linear part with each activation function that the object may have."""
    yield Dictionary(**parts, activation="relu")
    counts = active.sum(dim=1)
    k = int(counts.max())
    if k and int((counts == k).sum()) * 2 > len(counts):
        yield Dictionary(**parts, activation="topk", k=k)
    for threshold in called.thresholds(active.shape[1]):
        yield Dictionary(**parts, activation="jumprelu", threshold=threshold)


def _encodes_alike(dictionary: Dictionary, f: Tensor, x: Tensor, tolerance: float) -> bool:
    own = dictionary.encode(x)
    differs = ((own > 0) != (f > 0)).float().mean()
    both = (own > 0) & (f > 0)
    return bool(differs <= _DISAGREEING) and _close(own[both], f[both], tolerance)


def _close(values: Tensor, target: Tensor, tolerance: float) -> bool:
    if values.shape != target.shape:
        return False
    if not target.numel():
        return True
    largest = float(target.abs().max())
    return float((values - target).abs().max()) <= tolerance * max(largest, 1e-12)
