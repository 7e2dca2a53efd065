"""A dictionary from an object in memory that has `encode` and `decode`, of any library or one's own.

Nothing is assumed about the names or the orientation of its weights. The object encodes and decodes values of the subject, and the
equations of `sae.dictionary.Dictionary` that give the same features are looked for among its tensors: encoder and decoder either way
round, a bias subtracted before or not, an input that is normalised, relu, jumprelu with any of its tensors as threshold, topk,
groupmax, or a gate. An object with other equations is called for every batch instead.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sae.dictionary import Dictionary, no_weights
from sae.errors import DictionaryError
from sae.formats.folding import fold_gate
from sae.objects.calls import Called, evaluating
from sae.objects.decoder import NORMS, Decoder, close, decoder_of
from sae.objects.encoder import CalledEncoder
from sae.objects.statements import hook_point_out_of

TOKENS = 257
"""Values that the object encodes to be understood: no width of a model or dictionary, so that shapes tell rows from columns."""
_DISAGREEING = 1e-4
"""Largest share of features that may be active in one of the two only, as rounding makes a few."""
_ALONE = 64
"""Values that are encoded a second time, without the others."""
_BATCH_THRESHOLD = "topk_threshold"
"""The tensor of SAELens' batch-wise topk in training that is its threshold afterwards."""
CALLED = "its encode is none of the known equations, so it is called for every batch"


def dictionary_of(given: Any, hook_point: str, x: Tensor, *, trained_with_bos: bool | None = None) -> Dictionary:
    """The dictionary of an object, with the same activations: checked on x (n, d_in), float32 values of the subject at `hook_point`.

    Weights are shared with the object, so they are those of the moment when they are used. Raises `DictionaryError` if it has no
    `encode` and `decode`, does not read values of this width, decodes in another way than by a linear map, or encodes a token in
    dependence on the others of its batch.
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
        decoder = decoder_of(called, f.shape[1], x)
        shared = _shared(called, decoder, hook_point, x.shape[1]) | {"trained_with_bos": trained_with_bos}
        candidates = _candidates(called, f, x, decoder, shared)
        if not _alike(called.encode(x[:_ALONE]), f[:_ALONE], called.tolerance):
            return _of_batch_topk(called, candidates)
        for candidate in candidates:
            if _alike(candidate.encode(x), f, called.tolerance):
                return candidate
    return _called_dictionary(called, f, x, shared)


def _shared(called: Called, decoder: Decoder, hook_point: str, d_in: int) -> dict[str, Any]:
    """The fields of the dictionary that are not its encoder's. Raises `DictionaryError` for a transcoder to an unknown place."""
    hook_point_out, d_out = hook_point_out_of(called.given, hook_point), len(decoder.bias)
    if hook_point_out is None and d_out != d_in:
        raise DictionaryError(
            f"dictionary {called.name} reads {d_in} dimensions of {hook_point} and writes {d_out}, but does not say where: set its"
            " attribute hook_point_out, such as 'mlp_out.8'"
        )
    return {
        "W_dec": decoder.W,
        "b_dec": decoder.bias,
        "input_norm": decoder.norm,
        "hook_point": hook_point,
        "hook_point_out": hook_point_out,
        "W_skip": next(
            (W for name, W in called.tensors.items() if name == "W_skip" and W.shape == (d_out, d_in)), None
        ),
        "architecture": called.name,
        "path": f"object:{called.name}",
        "format": "object",
    }


def _called_dictionary(called: Called, f: Tensor, x: Tensor, shared: dict[str, Any]) -> Dictionary:
    """The dictionary whose encoder is the object's own. Raises `DictionaryError` if its decode restores a scale that its encode keeps."""
    read = Dictionary(
        **shared,
        W_enc=no_weights(f.shape[1], x.shape[1], x.device),
        b_enc=torch.zeros(f.shape[1], device=x.device),
        activation="called",
        encoder=CalledEncoder(called, x),
        notes=(CALLED, *(["features below 0 count as silent"] if bool((f < 0).any()) else [])),
    )
    if not _alike(read.encode(x), f, called.tolerance):
        raise DictionaryError(
            f"dictionary {called.name}: its decode restores the input's scale, which its encode does not normalise: let both do so, or none"
        )
    return read


def _of_batch_topk(called: Called, candidates: Iterator[Dictionary]) -> Dictionary:
    """A batch-wise topk of SAELens in training, with the threshold that it has afterwards. Raises `DictionaryError` for another object."""
    threshold = called.tensors.get(_BATCH_THRESHOLD)
    for candidate in candidates if threshold is not None else ():
        if candidate.activation == "relu":
            assert threshold is not None
            rows = threshold.float().clamp_min(0).expand(candidate.d_sae)
            return replace(candidate, activation="jumprelu", threshold=rows)
    raise DictionaryError(
        f"dictionary {called.name}: the features of a token depend on the others of its batch: give it as it is used after training,"
        " with a threshold"
    )


def _candidates(called: Called, f: Tensor, x: Tensor, decoder: Decoder, shared: dict[str, Any]) -> Iterator[Dictionary]:
    """Dictionaries that have the object's values where its features are active; which others are active may differ."""
    d_sae, active, b_dec = f.shape[1], f > 0, decoder.bias
    gate, gains = called.gate(d_sae), list(_gains(called, d_sae, len(b_dec)))
    # The output of a transcoder does not tell how its input is normalised.
    norms = (decoder.norm,) if shared["hook_point_out"] is None else NORMS
    for W, norm, centred in itertools.product(called.matrices(d_sae, x.shape[1]), norms, (False, True)):
        if centred and len(b_dec) != x.shape[1]:
            continue
        parts = shared | {"input_norm": norm, "apply_b_dec_to_input": centred}
        inputs = Dictionary(**parts, W_enc=W, b_enc=W[:, 0], activation="relu").prepare(x)
        product = inputs @ W.to(x).T
        for bias in (*called.vectors(d_sae), torch.zeros(d_sae, device=x.device)):
            z = product + bias.to(x)
            for gain in gains:
                if close((z if gain is None else z * gain)[active], f[active], called.tolerance):
                    weights = (W, bias) if gain is None else (W.float() * gain[:, None], bias.float() * gain)
                    yield from _activations(called, active, parts | dict(zip(("W_enc", "b_enc"), weights, strict=True)))
        if gate:
            W_enc, b_enc, threshold = fold_gate(W, *gate)
            if close((inputs @ W_enc.to(x).T + b_enc.to(x))[active], f[active], called.tolerance):
                yield Dictionary(**parts, W_enc=W_enc, b_enc=b_enc, activation="jumprelu", threshold=threshold)


def _gains(called: Called, d_sae: int, d_out: int) -> Iterator[Tensor | None]:
    """Factors (d_sae,) by which features may be scaled: none, or the norms of a decoder's rows."""
    yield None
    for W in called.matrices(d_sae, d_out):
        yield W.float().norm(dim=1)


def _activations(called: Called, active: Tensor, parts: dict[str, Any]) -> Iterator[Dictionary]:
    """The linear part with each activation function that the object may have."""
    yield Dictionary(**parts, activation="relu")
    counts, d_sae = active.sum(dim=1), active.shape[1]
    k = int(counts.max())
    if k and int((counts == k).sum()) * 2 > len(counts):
        yield Dictionary(**parts, activation="topk", k=k)
    if k and d_sae % k == 0:
        yield Dictionary(**parts, activation="groupmax", k=k)
    for threshold in called.thresholds(d_sae):
        yield Dictionary(**parts, activation="jumprelu", threshold=threshold)


def _alike(own: Tensor, f: Tensor, tolerance: float) -> bool:
    """Whether features own (n, d_sae) are f, but for rounding."""
    differs = ((own != 0) != (f != 0)).float().mean()
    both = (own != 0) & (f != 0)
    return bool(differs <= _DISAGREEING) and close(own[both], f[both], tolerance)
