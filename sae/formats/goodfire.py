"""Goodfire's dictionaries, one file each, as `torch.save` wrote it.

Of Llama: `encoder_linear.*` and `decoder_linear.*`, weight and bias; `relu(x @ encoder.T + bias)`. Of DeepSeek R1: one matrix `W`
(d_in, d_sae) for both sides, `b_enc`, `b_dec`; the k largest of a batch, at inference too. Layer and k are in the names alone:
`Goodfire/Llama-3.1-8B-Instruct-SAE-l19`, `Goodfire/DeepSeek-R1-SAE-l37/math/...`. Formula: their model cards on the hub.
"""

from __future__ import annotations

from pathlib import Path

from sae.dictionary import Dictionary
from sae.errors import DictionaryError
from sae.formats.location import Place
from sae.formats.readers import read_torch, take, tensors_of

PUBLISHER = "Goodfire (Llama 3, DeepSeek R1)"
CHECKED = (
    "by the published formula: both layouts, encode and decode within 1e-5; R1's batch-wise TopK is read token by token"
)
FILES: tuple[str, ...] = (
    "Llama-3.1-8B-Instruct-SAE-l19.pth",
    "Llama-3.3-70B-Instruct-SAE-l50.pt",
    "DeepSeek-R1-SAE-l37.pt",
)
_LINEAR, _TIED = {"encoder_linear.weight", "decoder_linear.weight"}, {"W", "b_enc", "b_dec"}
_K = {"math": 128, "logic": 64}


def matches(place: Place) -> bool:
    """Whether it is of this format, by the names of its tensors."""
    file = place.only("*.pt", "*.pth")
    if file is None:
        return False
    names = read_torch(file).keys()
    return names >= _LINEAR or names >= _TIED


def load(place: Place) -> Dictionary:
    """Read it. Raises `DictionaryError`."""
    file = place.only("*.pt", "*.pth")
    assert file is not None
    tensors = tensors_of(read_torch(file), file)
    tied = "W" in tensors
    if tied:
        W_enc = W_dec = take(tensors, "W", 2, file).T
        biases = ("b_enc", "b_dec")
    else:
        W_enc = take(tensors, "encoder_linear.weight", 2, file)
        W_dec = take(tensors, "decoder_linear.weight", 2, file).T
        biases = ("encoder_linear.bias", "decoder_linear.bias")
    layer = place.number(r"SAE-l(\d+)", file)
    k = _k(place, file) if tied else None
    return Dictionary(
        W_enc=W_enc,
        b_enc=take(tensors, biases[0], 1, file),
        W_dec=W_dec,
        b_dec=take(tensors, biases[1], 1, file),
        activation="relu" if k is None else "topk",
        k=k,
        hook_point=place.where([] if layer is None else [f"resid_post.{layer}"], file),
        architecture="relu" if k is None else "batchtopk",
        path=str(file),
        format="goodfire",
        notes=() if k is None else (f"no threshold is stored: read as the {k} largest of each token, not of a batch",),
    )


def _k(place: Place, file: Path) -> int:
    k = place.k if place.k is not None else next((_K[part] for part in reversed(file.parts) if part in _K), None)
    if k is None:
        raise DictionaryError(
            f"{file} does not say k, the number of features active a token: set dictionary.k (128 for math, 64 for logic)"
        )
    return k
