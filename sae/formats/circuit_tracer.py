"""circuit-tracer's transcoders: `config.yaml` and one file a layer, of which the user names one.

    layer_{i}.safetensors              a transcoder of layer i: `W_enc` and `W_dec` (d_sae, d_model), `b_enc`, `b_dec`, and perhaps
                                       `activation_function.threshold` (d_sae,), `k` and `W_skip` (d_model, d_model)
    W_enc_{i}, W_dec_{i}.safetensors   layer i of a cross-layer transcoder: `W_enc_i` (d_sae, d_model), `b_enc_i`, `b_dec_i`, perhaps
                                       `threshold_i`; `W_dec_i` (d_sae, layers from i on, d_model)

Nothing is subtracted or scaled. The config names TransformerLens hooks. A cross-layer feature reads one place and writes to the MLP
of its own and every later layer; its decoder row is all of these side by side, so that its norm is that of all it writes. Layout:
https://github.com/decoderesearch/circuit-tracer (`transcoder/`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sae.dictionary import CROSS_LAYER, Activation, Dictionary, InputNorm
from sae.errors import DictionaryError
from sae.formats.location import Place, where_to
from sae.formats.readers import Tensors, read_config, read_safetensors, take

CONFIG = "config.yaml"
PUBLISHER = "circuit-tracer (transcoders of one layer and across layers)"
CHECKED = (
    "written by circuit-tracer 0.5.0, relu, jumprelu and skip connection, encode and decode within 1e-5; layers of cross-layer"
    " transcoders, encode and contributions to each later layer within 1e-5"
)
FILES: tuple[str, ...] = (CONFIG, "layer_{n}.safetensors", "W_enc_{n}.safetensors", "W_dec_{n}.safetensors")
_LAYER = re.compile(r"(layer|W_enc|W_dec)_(\d+)\.safetensors")
_KINDS = ("transcoder_set", CROSS_LAYER)
_NAMES = {"W_enc", "W_dec", "b_enc", "b_dec", "activation_function.threshold", "k", "W_skip"}
_NORMALISED = "ln2.hook_normalized"


def matches(place: Place) -> bool:
    """Whether it is of this format: by the name of the file given, or by what the folder's config says it holds."""
    if place.file is not None:
        return _LAYER.fullmatch(place.file.name) is not None
    config = place.folder / CONFIG
    return config.is_file() and read_config(config).get("model_kind") in _KINDS


def load(place: Place) -> Dictionary:
    """Read it. Raises `DictionaryError` on what is damaged and, by name, on what is not supported."""
    config_file = place.folder / CONFIG
    config = read_config(config_file) if config_file.is_file() else {}
    file = _file(place, config)
    named = _LAYER.fullmatch(file.name)
    if named is None:
        raise DictionaryError(
            f"{file} does not say its layer: name it as it was published, such as layer_5.safetensors"
        )
    layer = int(named[2])
    where, norm = _reads(place, config, layer, config_file)
    if named[1] != "layer":
        return _across(place.folder, layer, where, norm, _writes(config, layer, config_file))
    return _single(file, where, norm, _writes(config, layer, config_file))


def _file(place: Place, config: Mapping[str, Any]) -> Path:
    """The layer's file that the user named; a folder of several is refused, and so is a list of files elsewhere."""
    if place.file is not None:
        return place.file
    if isinstance(listed := config.get("transcoders"), list) and listed:
        named = str(listed[0]).removeprefix("hf://").partition("?")[0]
        raise DictionaryError(f"{place.name}/{CONFIG} only lists its transcoders: name one, such as {named}")
    across = config.get("model_kind") == CROSS_LAYER
    return place.one("W_enc_*.safetensors" if across else "layer_*.safetensors")


def _single(file: Path, where: str, norm: InputNorm, out: str) -> Dictionary:
    tensors = read_safetensors(file, whole=("k",))
    if unknown := tensors.keys() - _NAMES:
        raise DictionaryError(f"{file} holds {', '.join(sorted(unknown))}: transcoders with that are not supported")
    W_enc, W_dec = take(tensors, "W_enc", 2, file), take(tensors, "W_dec", 2, file)
    skip = take(tensors, "W_skip", 2, file) if "W_skip" in tensors else None
    if skip is not None and norm != "none":
        raise DictionaryError(f"{file}: a skip connection from {_NORMALISED} is not supported: use features alone")
    threshold = _threshold(tensors, "activation_function.threshold", file)
    k = int(tensors["k"]) if "k" in tensors else None
    activation: Activation = "topk" if k else "relu" if threshold is None else "jumprelu"
    return Dictionary(
        W_enc=W_enc,
        b_enc=take(tensors, "b_enc", 1, file),
        W_dec=W_dec,
        b_dec=take(tensors, "b_dec", 1, file),
        activation=activation,
        threshold=threshold,
        k=k,
        input_norm=norm,
        hook_point=where,
        hook_point_out=out,
        W_skip=skip,
        architecture=activation + ("_transcoder" if skip is None else "_skip_transcoder"),
        path=str(file),
        format="circuit_tracer",
        notes=_notes(norm),
    )


def _across(folder: Path, layer: int, where: str, norm: InputNorm, out: str) -> Dictionary:
    file, other = folder / f"W_enc_{layer}.safetensors", folder / f"W_dec_{layer}.safetensors"
    tensors = read_safetensors(file)
    W_dec = take(read_safetensors(other), f"W_dec_{layer}", 3, other)
    if f"W_skip_{layer}" in tensors:
        raise DictionaryError(f"{file}: the skip connection of a cross-layer transcoder is not supported")
    b_dec = take(tensors, f"b_dec_{layer}", 1, file)
    later = W_dec.shape[1] - 1
    threshold = _threshold(tensors, f"threshold_{layer}", file)
    return Dictionary(
        W_enc=take(tensors, f"W_enc_{layer}", 2, file),
        b_enc=take(tensors, f"b_enc_{layer}", 1, file),
        W_dec=W_dec.flatten(1),
        b_dec=torch.cat([b_dec, b_dec.new_zeros(later * len(b_dec))]),
        activation="relu" if threshold is None else "jumprelu",
        threshold=threshold,
        input_norm=norm,
        hook_point=where,
        hook_point_out=out,
        architecture=CROSS_LAYER,
        path=str(file),
        format="circuit_tracer",
        notes=(
            *_notes(norm),
            f"one layer of a cross-layer transcoder: an activation counts what it writes to all of layers {layer} to {layer + later}",
            "its output is side by side what it adds to each of these layers, and reconstructs none: earlier layers write there too",
        ),
    )


def _reads(place: Place, config: Mapping[str, Any], layer: int, config_file: Path) -> tuple[str, InputNorm]:
    hook = config.get("feature_input_hook")
    if hook == _NORMALISED:
        return place.where([f"resid_mid.{layer}"], config_file), "per_token"
    return place.where([f"blocks.{layer}.{hook}"] if hook else [], config_file), "none"


def _writes(config: Mapping[str, Any], layer: int, config_file: Path) -> str:
    return where_to(f"blocks.{layer}.{config.get('feature_output_hook', 'hook_mlp_out')}", config_file)


def _notes(norm: InputNorm) -> tuple[str, ...]:
    return (f"{_NORMALISED} is read as the residual stream, normalised token by token",) if norm == "per_token" else ()


def _threshold(tensors: Tensors, name: str, file: Path) -> Tensor | None:
    return take(tensors, name, 1, file) if name in tensors else None
