"""Goodfire's dictionaries: one file of `torch.save` each.

For Llama: `encoder_linear.*` and `decoder_linear.*`, weight and bias; `relu(x @ encoder.T + bias)`. For DeepSeek R1: one matrix `W`
(d_in, d_sae) for encoder and decoder, `b_enc`, `b_dec`; the k largest of a batch, also at inference. Only the names state layer and k:
`Goodfire/Llama-3.1-8B-Instruct-SAE-l19`, `Goodfire/DeepSeek-R1-SAE-l37/math/...`. Formula: their model cards on the hub.
"""

from __future__ import annotations

from pathlib import Path

from sae.dictionary import Dictionary
from sae.errors import DictionaryError
from sae.formats.location import DictionaryLocation
from sae.formats.readers import get_tensor, read_torch, real_tensors

PUBLISHER = "Goodfire (Llama 3, DeepSeek R1)"
CHECKED = "the published formula: both layouts, encode and decode; R1's batch-wise TopK is read per token"
FILES: tuple[str, ...] = (
    "Llama-3.1-8B-Instruct-SAE-l19.pth",
    "Llama-3.3-70B-Instruct-SAE-l50.pt",
    "DeepSeek-R1-SAE-l37.pt",
)
_LINEAR, _TIED = {"encoder_linear.weight", "decoder_linear.weight"}, {"W", "b_enc", "b_dec"}
_K = {"math": 128, "logic": 64}


def matches(location: DictionaryLocation) -> bool:
    """Whether it is of this format, by the names of its tensors."""
    file = location.find_file("*.pt", "*.pth")
    if file is None:
        return False
    names = read_torch(file).keys()
    return names >= _LINEAR or names >= _TIED


def load(location: DictionaryLocation) -> Dictionary:
    """Read it. Raises `DictionaryError`."""
    file = location.find_file("*.pt", "*.pth")
    assert file is not None
    tensors = real_tensors(read_torch(file), file)
    tied = "W" in tensors
    if tied:
        W_enc = W_dec = get_tensor(tensors, "W", 2, file).T
        biases = ("b_enc", "b_dec")
    else:
        W_enc = get_tensor(tensors, "encoder_linear.weight", 2, file)
        W_dec = get_tensor(tensors, "decoder_linear.weight", 2, file).T
        biases = ("encoder_linear.bias", "decoder_linear.bias")
    layer = location.number_in_names(r"SAE-l(\d+)", file)
    k = _k(location, file) if tied else None
    return Dictionary(
        W_enc=W_enc,
        b_enc=get_tensor(tensors, biases[0], 1, file),
        W_dec=W_dec,
        b_dec=get_tensor(tensors, biases[1], 1, file),
        activation="relu" if k is None else "topk",
        k=k,
        hook_point=location.choose_hook_point([] if layer is None else [f"resid_post.{layer}"], file),
        architecture="relu" if k is None else "batchtopk",
        path=str(file),
        format="goodfire",
        notes=()
        if k is None
        else (f"no threshold is stored: read as TopK of each token with k = {k}, not of a batch",),
    )


def _k(location: DictionaryLocation, file: Path) -> int:
    k = location.k if location.k is not None else next((_K[part] for part in reversed(file.parts) if part in _K), None)
    if k is None:
        raise DictionaryError(
            f"{file} does not say k, the number of active features per token: set dictionary.k (128 for math, 64 for logic)"
        )
    return k
