"""Llama Scope of 2024: `hyperparams.json` and `checkpoints/final.safetensors`.

`encoder.weight` (d_sae, d_in), `decoder.weight` (d_out, d_sae), `encoder.bias`, `decoder.bias`. The input is scaled to an average norm of
sqrt(d): s = sqrt(d) / dataset_average_activation_norm. One number in the config is the threshold of all features, on the scale of
the raw activations: s times that on the scaled ones. Paper: https://arxiv.org/abs/2410.20526.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sae.dictionary import Dictionary
from sae.errors import DictionaryError
from sae.formats.folding import threshold_per_norm
from sae.formats.location import Place, where_to
from sae.formats.readers import check_sizes, read_config, read_safetensors, take

CONFIG, WEIGHTS = "hyperparams.json", "checkpoints/final.safetensors"
PUBLISHER = "Llama Scope (OpenMOSS, 2024)"
CHECKED = "by the published formula, written out in the tests: its library reads only newer files; encode and decode within 1e-5"
FILES: tuple[str, ...] = (CONFIG, WEIGHTS)


def matches(place: Place) -> bool:
    """Whether it is of this format."""
    return place.has(CONFIG, WEIGHTS)


def load(place: Place) -> Dictionary:
    """Read it. Raises `DictionaryError` on what is damaged and, by name, on what is not supported."""
    folder = place.folder
    config_file, file = folder / CONFIG, folder / WEIGHTS
    config = read_config(config_file)
    for name, wanted in (("act_fn", "jumprelu"), ("norm_activation", "dataset-wise")):
        if (said := config.get(name, wanted)) != wanted:
            raise DictionaryError(f"{config_file}: {name} = {said!r} is not supported: use {wanted}")
    if config.get("use_glu_encoder"):
        raise DictionaryError(f"{config_file}: use_glu_encoder = true is not supported: use a linear encoder")
    names = [config.get("hook_point_in"), config.get("hook_point_out")]
    where = place.where([name for name in names[:1] if isinstance(name, str)], config_file)
    out = where_to(names[1], config_file) if names[1] not in (None, names[0]) else None
    tensors = read_safetensors(file)
    W_enc, W_dec = take(tensors, "encoder.weight", 2, file), take(tensors, "decoder.weight", 2, file).T
    check_sizes(config, {"d_model": W_enc.shape[1], "d_sae": W_enc.shape[0]}, file, CONFIG)
    scale, output_scale = (_scale(config, side, W_enc.shape[1], config_file) for side in ("in", "out"))
    threshold = torch.full((len(W_enc),), _number(config, "jump_relu_threshold", config_file) * scale)
    notes = ["the threshold is taken times the input's scale"]
    if config.get("sparsity_include_decoder_norm"):
        threshold = threshold_per_norm(threshold, W_dec)
        notes.append("decoder norms are folded into the threshold (sparsity_include_decoder_norm)")
    b_dec = (
        take(tensors, "decoder.bias", 1, file)
        if config.get("use_decoder_bias", True)
        else W_dec.new_zeros(W_dec.shape[1])
    )
    return Dictionary(
        W_enc=W_enc,
        b_enc=take(tensors, "encoder.bias", 1, file),
        W_dec=W_dec,
        b_dec=b_dec,
        activation="jumprelu",
        threshold=threshold,
        apply_b_dec_to_input=config.get("apply_decoder_bias_to_pre_encoder") is True,
        input_norm="scale",
        input_scale=scale,
        output_scale=None if out is None else output_scale,
        hook_point=where,
        hook_point_out=out,
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
