"""llamascopium folders (formerly lm-saes), Llama Scope R1 among them: `config.json` and `sae_weights.safetensors`.

`W_E` (d_in, d_sae) and `W_D` (d_sae, d_out), `b_E`, `b_D`, `activation_function.log_jumprelu_threshold`; Llama Scope R1 still has linear
layers, `encoder.weight` (d_sae, d_in) and `decoder.weight` (d_out, d_sae), and `log_jumprelu_threshold`. A dictionary whose
`hook_point_out` differs from its `hook_point_in` is a transcoder. With `sparsity_include_decoder_norm` features are selected by
`z * ||W_D||`, but their values remain z. `norm_activation`:

    dataset-wise   x * sqrt(d) / n, and the output times n_out / sqrt(d); the average norms n are tensors of the file
    token-wise     x * sqrt(d) / ||x||
    inference      none: it is folded into the weights

`lm_config.json` states whether the model was run with BOS.
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
from sae.formats.folding import fold_decoder_norms, fold_norms_into_threshold
from sae.formats.location import DictionaryLocation, output_hook_point
from sae.formats.readers import Tensors, check_sizes, get_int, get_tensor, read_config, read_safetensors, stated_bos

CONFIG, WEIGHTS, MODEL_CONFIG = "config.json", "sae_weights.safetensors", "lm_config.json"
PUBLISHER = "llamascopium, formerly lm-saes (Llama Scope R1 and later)"
CHECKED = (
    "files written by llamascopium 2.0.0b34: relu, jumprelu and topk in every normalisation, including transcoders, encode and decode;"
    " Llama Scope R1's older names by the published formula"
)
FILES: tuple[str, ...] = (CONFIG, WEIGHTS, MODEL_CONFIG)
_ACTIVATIONS: dict[str, Activation] = {"relu": "relu", "jumprelu": "jumprelu", "topk": "topk", "batchtopk": "topk"}
_NORMS: dict[str, InputNorm] = {"dataset-wise": "scale", "token-wise": "per_token", "inference": "none"}


def matches(location: DictionaryLocation) -> bool:
    """Whether it is of this format."""
    return location.has_files(CONFIG, WEIGHTS)


def load(location: DictionaryLocation) -> Dictionary:
    """Read it. Raises `DictionaryError` if it is damaged, or if a part named in the message is not supported."""
    config_file, file = location.folder / CONFIG, location.folder / WEIGHTS
    config = read_config(config_file)
    act_fn, activation, norm = _kind(config, config_file)
    hook_point, out = hook_points(config, location, config_file)
    if out is not None and norm == "per_token":
        raise DictionaryError(f"{config_file}: norm_activation = 'token-wise' is not supported for transcoders")
    tensors = read_safetensors(file)
    W_enc, b_enc, W_dec, b_dec = _weights(tensors, config, file)
    check_sizes(config, {"d_model": W_enc.shape[1]}, file, CONFIG)
    threshold = None
    notes = []
    if activation == "jumprelu":
        name = next((name for name in tensors if name.endswith("log_jumprelu_threshold")), "log_jumprelu_threshold")
        threshold = get_tensor(tensors, name, 1, file).float().exp()
    if config.get("sparsity_include_decoder_norm", True) and activation != "relu":
        if threshold is None:
            W_enc, b_enc, W_dec = fold_decoder_norms(W_enc, b_enc, W_dec)
        else:
            threshold = fold_norms_into_threshold(threshold, W_dec)
        notes.append("decoder norms are folded into the values that are selected on (sparsity_include_decoder_norm)")
    if act_fn == "batchtopk":
        notes.append("batch-wise TopK without a threshold: read as TopK of each token, not of a batch")
    names = (config.get("hook_point_in"), config.get("hook_point_out"))
    scales = [_scale(tensors, name, W_enc.shape[1], file) if norm == "scale" else 1.0 for name in names]
    return Dictionary(
        W_enc=W_enc,
        b_enc=b_enc,
        W_dec=W_dec,
        b_dec=b_dec,
        activation=activation,
        threshold=threshold,
        k=get_int(config, "top_k", config_file) if activation == "topk" else None,
        input_norm=norm,
        input_scale=scales[0],
        output_scale=None if out is None else scales[1],
        hook_point=hook_point,
        hook_point_out=out,
        trained_with_bos=trained_with_bos(location),
        architecture=act_fn + ("" if out is None else "_transcoder"),
        path=str(location.folder),
        format="llamascopium",
        notes=tuple(notes),
    )


def hook_points(config: Mapping[str, Any], location: DictionaryLocation, config_file: Path) -> tuple[str, str | None]:
    """The hook points read and written in a config of llamascopium, or of the older Llama Scope. The second is None for an
    autoencoder. Raises `DictionaryError`, also for encoders that are not linear."""
    if config.get("use_glu_encoder"):
        raise DictionaryError(f"{config_file}: use_glu_encoder = true is not supported: use a linear encoder")
    name_in, name_out = config.get("hook_point_in"), config.get("hook_point_out")
    hook_point = location.choose_hook_point([name_in] if isinstance(name_in, str) else [], config_file)
    return hook_point, output_hook_point(name_out, config_file) if name_out not in (None, name_in) else None


def trained_with_bos(location: DictionaryLocation) -> bool | None:
    """Whether contexts began with BOS in training, as `lm_config.json` says, in the dictionary's folder or, as a training on one
    machine leaves it, in the one above."""
    files = (folder / MODEL_CONFIG for folder in (location.folder, location.folder.parent))
    return next((stated_bos(read_config(file)) for file in files if file.is_file()), None)


def _kind(config: Mapping[str, Any], file: Path) -> tuple[str, Activation, InputNorm]:
    """The config's own name of the activation, our name of it, and the normalisation."""
    kind = config.get("sae_type", "sae")
    if kind != "sae":
        raise DictionaryError(
            f"{file}: sae_type {kind!r} reads or writes several hook points at once, which is not supported: use sae (including"
            " transcoders)"
        )
    act_fn, norm = str(config.get("act_fn", "relu")).lower(), config.get("norm_activation", "dataset-wise")
    if act_fn not in _ACTIVATIONS:
        raise DictionaryError(f"{file}: act_fn {act_fn!r} is not supported: use one of {', '.join(_ACTIVATIONS)}")
    if norm not in _NORMS:
        raise DictionaryError(f"{file}: norm_activation {norm!r} is not supported: use one of {', '.join(_NORMS)}")
    return act_fn, _ACTIVATIONS[act_fn], _NORMS[norm]


def _weights(tensors: Tensors, config: Mapping[str, Any], file: Path) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if "encoder.weight" in tensors:
        W_enc, W_dec = get_tensor(tensors, "encoder.weight", 2, file), get_tensor(tensors, "decoder.weight", 2, file).T
        biases = ("encoder.bias", "decoder.bias")
    else:
        W_enc, W_dec = get_tensor(tensors, "W_E", 2, file).T, get_tensor(tensors, "W_D", 2, file)
        biases = ("b_E", "b_D")
    b_enc = get_tensor(tensors, biases[0], 1, file)
    if not config.get("use_decoder_bias", True):
        return W_enc, b_enc, W_dec, torch.zeros(W_dec.shape[1])
    return W_enc, b_enc, W_dec, get_tensor(tensors, biases[1], 1, file)


def _scale(tensors: Tensors, name: object, d_in: int, file: Path) -> float:
    norm = float(get_tensor(tensors, f"dataset_average_activation_norm.{name}", 0, file))
    if not math.isfinite(norm) or norm <= 0:
        raise DictionaryError(f"{file}: dataset_average_activation_norm.{name} = {norm:g} is not a positive number")
    return math.sqrt(d_in) / norm
