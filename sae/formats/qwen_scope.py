"""Qwen-Scope: `layer{n}.sae.pt`, with `W_enc` (d_sae, d_in), `W_dec` (d_in, d_sae), `b_enc` and `b_dec`.

The k largest of `x @ W_enc.T + b_enc`, of the residual stream after block n. k is in the name of the repository alone:
`Qwen/SAE-Res-Qwen3-8B-Base-W64K-L0_50`. Formula: its model cards on the hub.
"""

from __future__ import annotations

from sae.dictionary import Dictionary
from sae.errors import DictionaryError
from sae.formats.location import Place
from sae.formats.readers import read_torch, take, tensors_of

PUBLISHER = "Qwen-Scope"
CHECKED = "by the published formula: encode and decode within 1e-5"
FILES: tuple[str, ...] = ("layer{n}.sae.pt",)
_PATTERN = "layer*.sae.pt"


def matches(place: Place) -> bool:
    """Whether it is of this format."""
    return place.file.match(_PATTERN) if place.file else any(place.folder.glob(_PATTERN))


def load(place: Place) -> Dictionary:
    """Read it. Raises `DictionaryError`."""
    file = place.one(_PATTERN)
    tensors = tensors_of(read_torch(file), file)
    k = place.k if place.k is not None else place.number(r"L0_(\d+)")
    if k is None:
        raise DictionaryError(
            f"{file} does not say k, which is in its repository's name (L0_50, L0_100): set dictionary.k"
        )
    layer = file.name.removeprefix("layer").split(".")[0]
    return Dictionary(
        W_enc=take(tensors, "W_enc", 2, file),
        b_enc=take(tensors, "b_enc", 1, file),
        W_dec=take(tensors, "W_dec", 2, file).T,
        b_dec=take(tensors, "b_dec", 1, file),
        activation="topk",
        k=k,
        hook_point=place.where([f"resid_post.{layer}"] if layer.isdecimal() else [], file),
        architecture="topk",
        path=str(file),
        format="qwen_scope",
    )
