"""OpenAI's dictionaries of GPT-2 small: one `LAYER.pt` a layer, `resid_post_mlp_v5_32k/autoencoders/8.pt`.

`encoder.weight` (d_sae, d_in), `latent_bias`, `decoder.weight` (d_in, d_sae) and `pre_bias`, which is subtracted before the encoder and
added after the decoder. `activation` is ReLU, or TopK with `activation_state_dict` {k, postact_fn}; with TopK the input is normalised
to mean 0 and deviation 1, token by token, and the output back. Only the folders say where a dictionary reads.
Formula: https://github.com/openai/sparse_autoencoder (`sparse_autoencoder/model.py`), https://arxiv.org/abs/2406.04093.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from sae.dictionary import Dictionary
from sae.errors import DictionaryError
from sae.formats.location import Place
from sae.formats.readers import Tensors, read_torch, take, tensors_of

PUBLISHER = "OpenAI sparse_autoencoder (GPT-2 small)"
CHECKED = "by the published formula, which no package index carries: ReLU and TopK, encode and decode within 1e-5"
FILES: tuple[str, ...] = ("{n}.pt",)

_LOCATIONS = {
    "mlp_post_act": "mlp_act",
    "resid_delta_attn": "attn_out",
    "resid_delta_mlp": "mlp_out",
    "resid_post_attn": "resid_mid",
    "resid_post_mlp": "resid_post",
}
_LOCATION = re.compile("|".join(_LOCATIONS))


def matches(place: Place) -> bool:
    """Whether it is of this format, by the names of its tensors."""
    file = place.only("*.pt")
    return file is not None and {"pre_bias", "latent_bias"} <= read_torch(file).keys()


def load(place: Place) -> Dictionary:
    """Read it. Raises `DictionaryError` on what is damaged and, by name, on what is not supported."""
    file = place.one("*.pt")
    held = read_torch(file)
    tensors = tensors_of({name: value for name, value in held.items() if not name.startswith("stats_")}, file)
    activation = held.get("activation", "ReLU")
    if activation not in ("ReLU", "TopK"):
        raise DictionaryError(f"{file}: activation {activation!r} is not supported: use ReLU or TopK")
    return Dictionary(
        W_enc=take(tensors, "encoder.weight", 2, file),
        b_enc=take(tensors, "latent_bias", 1, file),
        W_dec=_decoder(tensors, file),
        b_dec=take(tensors, "pre_bias", 1, file),
        activation="topk" if activation == "TopK" else "relu",
        k=_k(held.get("activation_state_dict"), file) if activation == "TopK" else None,
        apply_b_dec_to_input=True,
        input_norm="layer_norm" if activation == "TopK" else "none",
        hook_point=place.where(_names(place, file), file),
        architecture=activation,
        path=str(file),
        format="openai",
    )


def _decoder(tensors: Tensors, file: Path) -> Tensor:
    """(d_sae, d_in): its own, or the encoder's where the two are tied and the file holds one."""
    tied = any(name.startswith("decoder.") and name != "decoder.weight" for name in tensors)
    if "decoder.weight" not in tensors and tied:
        return take(tensors, "encoder.weight", 2, file)
    return take(tensors, "decoder.weight", 2, file).T


def _k(state: object, file: Path) -> int:
    held: Mapping[str, Any] = state if isinstance(state, dict) else {}
    k, after = held.get("k"), held.get("postact_fn", "ReLU")
    if after != "ReLU":
        raise DictionaryError(f"{file}: postact_fn {after!r} is not supported: use ReLU")
    if not isinstance(k, int) or isinstance(k, bool):
        raise DictionaryError(f"{file}: TopK with k = {k!r}, which is not a whole number")
    return k


def _names(place: Place, file: Path) -> list[str]:
    found = _LOCATION.findall(f"{place.name}/{file.as_posix()}")
    return [f"{_LOCATIONS[found[-1]]}.{int(file.stem)}"] if found and file.stem.isdecimal() else []
