"""Qwen-Scope: `layer{n}.sae.pt`, with `W_enc` (d_sae, d_in), `W_dec` (d_in, d_sae), `b_enc` and `b_dec`.

TopK of `x @ W_enc.T + b_enc`, where x is the residual stream after block n. Only the repository's name states k:
`Qwen/SAE-Res-Qwen3-8B-Base-W64K-L0_50`. Formula: its model cards on the hub.
"""

from __future__ import annotations

from sae.dictionary import Dictionary
from sae.errors import DictionaryError
from sae.formats.location import DictionaryLocation
from sae.formats.readers import get_tensor, read_torch, real_tensors

PUBLISHER = "Qwen-Scope"
CHECKED = "the published formula: encode and decode"
FILES: tuple[str, ...] = ("layer{n}.sae.pt",)
_PATTERN = "layer*.sae.pt"


def matches(location: DictionaryLocation) -> bool:
    """Whether it is of this format."""
    return location.file.match(_PATTERN) if location.file else any(location.folder.glob(_PATTERN))


def load(location: DictionaryLocation) -> Dictionary:
    """Read it. Raises `DictionaryError`."""
    file = location.require_file(_PATTERN)
    tensors = real_tensors(read_torch(file), file)
    k = location.k if location.k is not None else location.number_in_names(r"L0_(\d+)")
    if k is None:
        raise DictionaryError(
            f"{file} does not say k, which only its repository's name states (L0_50, L0_100): set dictionary.k"
        )
    layer = file.name.removeprefix("layer").split(".")[0]
    return Dictionary(
        W_enc=get_tensor(tensors, "W_enc", 2, file),
        b_enc=get_tensor(tensors, "b_enc", 1, file),
        W_dec=get_tensor(tensors, "W_dec", 2, file).T,
        b_dec=get_tensor(tensors, "b_dec", 1, file),
        activation="topk",
        k=k,
        hook_point=location.choose_hook_point([f"resid_post.{layer}"] if layer.isdecimal() else [], file),
        architecture="topk",
        path=str(file),
        format="qwen_scope",
    )
