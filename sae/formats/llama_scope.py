"""Llama Scope (2024): `hyperparams.json` and `checkpoints/final.safetensors`, the older layout of llamascopium.

`encoder.weight` (d_sae, d_in), `decoder.weight` (d_out, d_sae), `encoder.bias`, `decoder.bias`. The input is scaled to an average norm of
sqrt(d), by s = sqrt(d) / dataset_average_activation_norm. All features have one threshold, a number t in the config on the scale of
the raw activations, so s t on the scaled ones. Paper: https://arxiv.org/abs/2410.20526.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sae.dictionary import Dictionary
from sae.errors import DictionaryError
from sae.formats.folding import fold_norms_into_threshold
from sae.formats.llamascopium import MODEL_CONFIG, hook_points, trained_with_bos
from sae.formats.location import DictionaryLocation
from sae.formats.readers import check_sizes, get_tensor, read_config, read_safetensors

CONFIG, WEIGHTS = "hyperparams.json", "checkpoints/final.safetensors"
PUBLISHER = "Llama Scope (OpenMOSS, 2024)"
CHECKED = "the published formula, because its library reads newer files only: encode and decode"
FILES: tuple[str, ...] = (CONFIG, WEIGHTS, MODEL_CONFIG)


def matches(location: DictionaryLocation) -> bool:
    """Whether it is of this format."""
    return location.has_files(CONFIG, WEIGHTS)


def load(location: DictionaryLocation) -> Dictionary:
    """Read it. Raises `DictionaryError` if it is damaged, or if a part named in the message is not supported."""
    folder = location.folder
    config_file, file = folder / CONFIG, folder / WEIGHTS
    config = read_config(config_file)
    for name, supported in (("act_fn", "jumprelu"), ("norm_activation", "dataset-wise")):
        if (value := config.get(name, supported)) != supported:
            raise DictionaryError(f"{config_file}: {name} = {value!r} is not supported: use {supported}")
    hook_point, out = hook_points(config, location, config_file)
    tensors = read_safetensors(file)
    W_enc, W_dec = get_tensor(tensors, "encoder.weight", 2, file), get_tensor(tensors, "decoder.weight", 2, file).T
    check_sizes(config, {"d_model": W_enc.shape[1], "d_sae": W_enc.shape[0]}, file, CONFIG)
    scale, output_scale = (_scale(config, side, W_enc.shape[1], config_file) for side in ("in", "out"))
    threshold = torch.full((len(W_enc),), _number(config, "jump_relu_threshold", config_file) * scale)
    notes = ["the threshold is multiplied by the input's scale"]
    if config.get("sparsity_include_decoder_norm"):
        threshold = fold_norms_into_threshold(threshold, W_dec)
        notes.append("decoder norms are folded into the threshold (sparsity_include_decoder_norm)")
    b_dec = (
        get_tensor(tensors, "decoder.bias", 1, file)
        if config.get("use_decoder_bias", True)
        else W_dec.new_zeros(W_dec.shape[1])
    )
    return Dictionary(
        W_enc=W_enc,
        b_enc=get_tensor(tensors, "encoder.bias", 1, file),
        W_dec=W_dec,
        b_dec=b_dec,
        activation="jumprelu",
        threshold=threshold,
        apply_b_dec_to_input=config.get("apply_decoder_bias_to_pre_encoder") is True,
        input_norm="scale",
        input_scale=scale,
        output_scale=None if out is None else output_scale,
        hook_point=hook_point,
        hook_point_out=out,
        trained_with_bos=trained_with_bos(location),
        architecture="jumprelu" if out is None else "jumprelu_transcoder",
        path=str(folder),
        format="llama_scope",
        notes=tuple(notes),
    )


def _scale(config: Mapping[str, Any], side: str, d_in: int, file: Path) -> float:
    norms = config.get("dataset_average_activation_norm")
    return math.sqrt(d_in) / _number(norms if isinstance(norms, dict) else {}, side, file)


def _number(config: Mapping[str, Any], name: str, file: Path) -> float:
    value = config.get(name)
    if not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
        raise DictionaryError(f"{file}: {name} = {value!r} is not a positive number")
    return float(value)
