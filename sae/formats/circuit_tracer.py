"""circuit-tracer's transcoders: `config.yaml` and one file per layer, of which the user names one.

    layer_{i}.safetensors              a transcoder of layer i: `W_enc` and `W_dec` (d_sae, d_model), `b_enc`, `b_dec`, optionally
                                       `activation_function.threshold` (d_sae,), `k` and `W_skip` (d_model, d_model)
    W_enc_{i}, W_dec_{i}.safetensors   layer i of a cross-layer transcoder: `W_enc_i` (d_sae, d_model), `b_enc_i`, `b_dec_i`,
                                       optionally `threshold_i`; `W_dec_i` (d_sae, layers from i on, d_model)

Nothing is subtracted or scaled. The config names TransformerLens hooks. A cross-layer feature reads one layer and writes to the MLP
of this and every later layer; its decoder row holds all of these side by side, so that its norm is that of everything it writes.
Layout: https://github.com/decoderesearch/circuit-tracer (`transcoder/`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from sae.dictionary import CROSS_LAYER, Activation, Dictionary, InputNorm
from sae.errors import DictionaryError
from sae.formats.folding import join_layers
from sae.formats.location import DictionaryLocation, output_hook_point
from sae.formats.readers import Tensors, get_tensor, read_config, read_safetensors

CONFIG = "config.yaml"
PUBLISHER = "circuit-tracer (per-layer and cross-layer transcoders)"
CHECKED = (
    "files written by circuit-tracer 0.5.0: relu, jumprelu and skip connections, encode and decode; cross-layer transcoders layer by"
    " layer, encode and the contributions to each later layer"
)
FILES: tuple[str, ...] = (CONFIG, "layer_{n}.safetensors", "W_enc_{n}.safetensors", "W_dec_{n}.safetensors")
_LAYER = re.compile(r"(layer|W_enc|W_dec)_(\d+)\.safetensors")
_KINDS = ("transcoder_set", CROSS_LAYER)
_NAMES = {"W_enc", "W_dec", "b_enc", "b_dec", "activation_function.threshold", "k", "W_skip"}
_NORMALISED = "ln2.hook_normalized"


def matches(location: DictionaryLocation) -> bool:
    """Whether it is of this format, by the name of the user's file, or by the kind that the folder's config states."""
    if location.file is not None:
        return _LAYER.fullmatch(location.file.name) is not None
    config = location.folder / CONFIG
    return config.is_file() and read_config(config).get("model_kind") in _KINDS


def load(location: DictionaryLocation) -> Dictionary:
    """Read it. Raises `DictionaryError` if it is damaged, or if a part named in the message is not supported."""
    config_file = location.folder / CONFIG
    config = read_config(config_file) if config_file.is_file() else {}
    file = _layer_file(location, config)
    match = _LAYER.fullmatch(file.name)
    if match is None:
        raise DictionaryError(f"{file} does not say its layer: give it its published name, such as layer_5.safetensors")
    layer = int(match[2])
    hook_point, norm = _input(location, config, layer, config_file)
    out = output_hook_point(f"blocks.{layer}.{config.get('feature_output_hook', 'hook_mlp_out')}", config_file)
    if match[1] != "layer":
        return _cross_layer(location.folder, layer, hook_point, norm, out)
    return _single_layer(file, hook_point, norm, out)


def _layer_file(location: DictionaryLocation, config: Mapping[str, Any]) -> Path:
    """The file of the layer that the user named. Raises `DictionaryError` for a folder of several, and for a config that only lists
    files elsewhere."""
    if location.file is not None:
        return location.file
    if isinstance(listed := config.get("transcoders"), list) and listed:
        first = str(listed[0]).removeprefix("hf://").partition("?")[0]
        raise DictionaryError(f"{location.name}/{CONFIG} only lists its transcoders: name one, such as {first}")
    cross_layer = config.get("model_kind") == CROSS_LAYER
    return location.require_file("W_enc_*.safetensors" if cross_layer else "layer_*.safetensors")


def _single_layer(file: Path, hook_point: str, norm: InputNorm, out: str) -> Dictionary:
    tensors = read_safetensors(file, integers=("k",))
    if unknown := tensors.keys() - _NAMES:
        raise DictionaryError(f"{file} holds {', '.join(sorted(unknown))}: such transcoders are not supported")
    W_enc, W_dec = get_tensor(tensors, "W_enc", 2, file), get_tensor(tensors, "W_dec", 2, file)
    skip = get_tensor(tensors, "W_skip", 2, file) if "W_skip" in tensors else None
    if skip is not None and norm != "none":
        raise DictionaryError(f"{file}: a skip connection from {_NORMALISED} is not supported: use one without")
    threshold = _threshold(tensors, "activation_function.threshold", file)
    k = int(tensors["k"]) if "k" in tensors else None
    activation: Activation = "topk" if k else "relu" if threshold is None else "jumprelu"
    return Dictionary(
        W_enc=W_enc,
        b_enc=get_tensor(tensors, "b_enc", 1, file),
        W_dec=W_dec,
        b_dec=get_tensor(tensors, "b_dec", 1, file),
        activation=activation,
        threshold=threshold,
        k=k,
        input_norm=norm,
        hook_point=hook_point,
        hook_point_out=out,
        W_skip=skip,
        architecture=activation + ("_transcoder" if skip is None else "_skip_transcoder"),
        path=str(file),
        format="circuit_tracer",
        notes=_notes(norm),
    )


def _cross_layer(folder: Path, layer: int, hook_point: str, norm: InputNorm, out: str) -> Dictionary:
    file, decoder_file = folder / f"W_enc_{layer}.safetensors", folder / f"W_dec_{layer}.safetensors"
    tensors = read_safetensors(file)
    W_dec = get_tensor(read_safetensors(decoder_file), f"W_dec_{layer}", 3, decoder_file)
    if f"W_skip_{layer}" in tensors:
        raise DictionaryError(f"{file}: the skip connection of a cross-layer transcoder is not supported")
    W_dec, b_dec, notes = join_layers(W_dec, get_tensor(tensors, f"b_dec_{layer}", 1, file), layer)
    threshold = _threshold(tensors, f"threshold_{layer}", file)
    return Dictionary(
        W_enc=get_tensor(tensors, f"W_enc_{layer}", 2, file),
        b_enc=get_tensor(tensors, f"b_enc_{layer}", 1, file),
        W_dec=W_dec,
        b_dec=b_dec,
        activation="relu" if threshold is None else "jumprelu",
        threshold=threshold,
        input_norm=norm,
        hook_point=hook_point,
        hook_point_out=out,
        architecture=CROSS_LAYER,
        path=str(file),
        format="circuit_tracer",
        notes=(*_notes(norm), *notes),
    )


def _input(
    location: DictionaryLocation, config: Mapping[str, Any], layer: int, config_file: Path
) -> tuple[str, InputNorm]:
    """The hook point that is read, and the normalisation of its values."""
    hook = config.get("feature_input_hook")
    if hook == _NORMALISED:
        return location.choose_hook_point([f"resid_mid.{layer}"], config_file), "per_token"
    return location.choose_hook_point([f"blocks.{layer}.{hook}"] if hook else [], config_file), "none"


def _notes(norm: InputNorm) -> tuple[str, ...]:
    return (f"{_NORMALISED} is read as the residual stream, normalised per token",) if norm == "per_token" else ()


def _threshold(tensors: Tensors, name: str, file: Path) -> Tensor | None:
    return get_tensor(tensors, name, 1, file) if name in tensors else None
