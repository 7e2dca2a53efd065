"""OpenAI's dictionaries of GPT-2 small: one file `LAYER.pt` per layer, such as `resid_post_mlp_v5_32k/autoencoders/8.pt`.

`encoder.weight` (d_sae, d_in), `latent_bias`, `decoder.weight` (d_in, d_sae) and `pre_bias`, which is subtracted before the encoder and
added after the decoder. `activation` is ReLU, or TopK with `activation_state_dict` {k, postact_fn}; with TopK each token's input is
normalised to mean 0 and standard deviation 1, and the output is scaled back. Only the folders state the hook point.
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
from sae.formats.location import DictionaryLocation
from sae.formats.readers import Tensors, get_tensor, read_torch, real_tensors

PUBLISHER = "OpenAI sparse_autoencoder (GPT-2 small)"
CHECKED = "the published formula, because its library is in no package index: ReLU and TopK, encode and decode"
FILES: tuple[str, ...] = ("{n}.pt",)

_LOCATIONS = {
    "mlp_post_act": "mlp_act",
    "resid_delta_attn": "attn_out",
    "resid_delta_mlp": "mlp_out",
    "resid_post_attn": "resid_mid",
    "resid_post_mlp": "resid_post",
}
_LOCATION = re.compile("|".join(_LOCATIONS))


def matches(location: DictionaryLocation) -> bool:
    """Whether it is of this format, by the names of its tensors."""
    file = location.find_file("*.pt")
    return file is not None and {"pre_bias", "latent_bias"} <= read_torch(file).keys()


def load(location: DictionaryLocation) -> Dictionary:
    """Read it. Raises `DictionaryError` if it is damaged, or if a part named in the message is not supported."""
    file = location.require_file("*.pt")
    content = read_torch(file)
    tensors = real_tensors({name: value for name, value in content.items() if not name.startswith("stats_")}, file)
    activation = content.get("activation", "ReLU")
    if activation not in ("ReLU", "TopK"):
        raise DictionaryError(f"{file}: activation {activation!r} is not supported: use ReLU or TopK")
    return Dictionary(
        W_enc=get_tensor(tensors, "encoder.weight", 2, file),
        b_enc=get_tensor(tensors, "latent_bias", 1, file),
        W_dec=_decoder(tensors, file),
        b_dec=get_tensor(tensors, "pre_bias", 1, file),
        activation="topk" if activation == "TopK" else "relu",
        k=_k(content.get("activation_state_dict"), file) if activation == "TopK" else None,
        apply_b_dec_to_input=True,
        input_norm="layer_norm" if activation == "TopK" else "none",
        hook_point=location.choose_hook_point(_hook_point(location, file), file),
        architecture=activation,
        path=str(file),
        format="openai",
    )


def _decoder(tensors: Tensors, file: Path) -> Tensor:
    """The decoder (d_sae, d_in): its own, or the encoder's if the two are tied and the file holds only one."""
    tied = any(name.startswith("decoder.") and name != "decoder.weight" for name in tensors)
    if "decoder.weight" not in tensors and tied:
        return get_tensor(tensors, "encoder.weight", 2, file)
    return get_tensor(tensors, "decoder.weight", 2, file).T


def _k(state: object, file: Path) -> int:
    fields: Mapping[str, Any] = state if isinstance(state, dict) else {}
    k, postact = fields.get("k"), fields.get("postact_fn", "ReLU")
    if postact != "ReLU":
        raise DictionaryError(f"{file}: postact_fn {postact!r} is not supported: use ReLU")
    if not isinstance(k, int) or isinstance(k, bool):
        raise DictionaryError(f"{file}: TopK with k = {k!r}, which is not a whole number")
    return k


def _hook_point(location: DictionaryLocation, file: Path) -> list[str]:
    """The hook point that the names state, if they do."""
    sites = _LOCATION.findall(f"{location.name}/{file.as_posix()}")
    return [f"{_LOCATIONS[sites[-1]]}.{int(file.stem)}"] if sites and file.stem.isdecimal() else []
