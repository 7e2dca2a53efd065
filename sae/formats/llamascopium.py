"""llamascopium folders (formerly lm-saes), Llama Scope R1 among them: `config.json` and `sae_weights.safetensors`.

`W_E` (d_in, d_sae) and `W_D` (d_sae, d_out), `b_E`, `b_D`, `activation_function.log_jumprelu_threshold`; Llama Scope R1 still has linear
layers, `encoder.weight` (d_sae, d_in) and `decoder.weight` (d_out, d_sae), and `log_jumprelu_threshold`. A dictionary whose
`hook_point_out` is not its `hook_point_in` is a transcoder. With `sparsity_include_decoder_norm` a feature is active where
`z * ||W_D||` passes, and its value stays z. `norm_activation`:

    dataset-wise   x * sqrt(d) / n, the output times n_out / sqrt(d); the average norms n are tensors of the file
    token-wise     x * sqrt(d) / ||x||
    inference      nothing, it is folded into the weights

Layout: https://github.com/OpenMOSS/Language-Model-SAEs (`sparse_dictionary.py`, `sae.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sae.dictionary import Activation, Dictionary, InputNorm
from sae.errors import DictionaryError
from sae.formats.folding import threshold_per_norm, unit_rows
from sae.formats.location import Place, where_to
from sae.formats.readers import Tensors, check_sizes, read_config, read_safetensors, take, take_whole

CONFIG, WEIGHTS = "config.json", "sae_weights.safetensors"
PUBLISHER = "llamascopium, formerly lm-saes (Llama Scope R1 and later)"
CHECKED = (
    "written by llamascopium 2.0.0b34, relu, jumprelu and topk in every normalisation, transcoders included: encode and decode"
    " within 1e-5; Llama Scope R1's older names by the published formula"
)
FILES: tuple[str, ...] = (CONFIG, WEIGHTS)
_ACTIVATIONS: dict[str, Activation] = {"relu": "relu", "jumprelu": "jumprelu", "topk": "topk", "batchtopk": "topk"}
_NORMS: dict[str, InputNorm] = {"dataset-wise": "scale", "token-wise": "per_token", "inference": "none"}


def matches(place: Place) -> bool:
    """Whether it is of this format."""
    return place.has(CONFIG, WEIGHTS)


def load(place: Place) -> Dictionary:
    """Read it. Raises `DictionaryError` on what is damaged and, by name, on what is not supported."""
    config_file, file = place.folder / CONFIG, place.folder / WEIGHTS
    config = read_config(config_file)
    act_fn, activation, norm = _understood(config, config_file)
    names = [config.get("hook_point_in"), config.get("hook_point_out")]
    where = place.where([name for name in names[:1] if isinstance(name, str)], config_file)
    out = where_to(names[1], config_file) if names[1] not in (None, names[0]) else None
    if out is not None and norm == "per_token":
        raise DictionaryError(f"{config_file}: norm_activation = 'token-wise' is not supported for transcoders")
    tensors = read_safetensors(file)
    W_enc, b_enc, W_dec, b_dec = _weights(tensors, config, file)
    check_sizes(config, {"d_model": W_enc.shape[1]}, file, CONFIG)
    threshold = None
    notes = []
    if activation == "jumprelu":
        name = next((name for name in tensors if name.endswith("log_jumprelu_threshold")), "log_jumprelu_threshold")
        threshold = take(tensors, name, 1, file).float().exp()
    if config.get("sparsity_include_decoder_norm", True) and activation != "relu":
        if threshold is None:
            W_enc, b_enc, W_dec = unit_rows(W_enc, b_enc, W_dec)
        else:
            threshold = threshold_per_norm(threshold, W_dec)
        notes.append("decoder norms are folded into what is selected on (sparsity_include_decoder_norm)")
    if act_fn == "batchtopk":
        notes.append("batch-wise TopK without a threshold: read as the k largest of each token, not of a batch")
    scales = [_scale(tensors, hook, W_enc.shape[1], file) if norm == "scale" else 1.0 for hook in names]
    return Dictionary(
        W_enc=W_enc,
        b_enc=b_enc,
        W_dec=W_dec,
        b_dec=b_dec,
        activation=activation,
        threshold=threshold,
        k=take_whole(config, "top_k", config_file) if activation == "topk" else None,
        input_norm=norm,
        input_scale=scales[0],
        output_scale=None if out is None else scales[1],
        hook_point=where,
        hook_point_out=out,
        architecture=act_fn + ("" if out is None else "_transcoder"),
        path=str(place.folder),
        format="llamascopium",
        notes=tuple(notes),
    )


def _understood(config: Mapping[str, Any], file: Path) -> tuple[str, Activation, InputNorm]:
    """Its own word for the activation, ours, and the normalisation."""
    kind = config.get("sae_type", "sae")
    if kind != "sae":
        raise DictionaryError(
            f"{file}: sae_type {kind!r} reads or writes several places at once: not supported; use sae (transcoders included)"
        )
    if config.get("use_glu_encoder"):
        raise DictionaryError(f"{file}: use_glu_encoder = true is not supported: use a linear encoder")
    act_fn, norm = str(config.get("act_fn", "relu")).lower(), config.get("norm_activation", "dataset-wise")
    if act_fn not in _ACTIVATIONS:
        raise DictionaryError(f"{file}: act_fn {act_fn!r} is not supported: use one of {', '.join(_ACTIVATIONS)}")
    if norm not in _NORMS:
        raise DictionaryError(f"{file}: norm_activation {norm!r} is not supported: use one of {', '.join(_NORMS)}")
    return act_fn, _ACTIVATIONS[act_fn], _NORMS[norm]


def _weights(tensors: Tensors, config: Mapping[str, Any], file: Path) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if "encoder.weight" in tensors:
        W_enc, W_dec = take(tensors, "encoder.weight", 2, file), take(tensors, "decoder.weight", 2, file).T
        biases = ("encoder.bias", "decoder.bias")
    else:
        W_enc, W_dec = take(tensors, "W_E", 2, file).T, take(tensors, "W_D", 2, file)
        biases = ("b_E", "b_D")
    b_enc = take(tensors, biases[0], 1, file)
    if not config.get("use_decoder_bias", True):
        return W_enc, b_enc, W_dec, torch.zeros(W_dec.shape[1])
    return W_enc, b_enc, W_dec, take(tensors, biases[1], 1, file)


def _scale(tensors: Tensors, hook: object, d_in: int, file: Path) -> float:
    norm = float(take(tensors, f"dataset_average_activation_norm.{hook}", 0, file))
    if not math.isfinite(norm) or norm <= 0:
        raise DictionaryError(f"{file}: dataset_average_activation_norm.{hook} = {norm:g} is not a positive number")
    return math.sqrt(d_in) / norm
