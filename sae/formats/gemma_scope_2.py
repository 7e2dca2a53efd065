"""Gemma Scope 2, on Gemma 3: `params.safetensors`, and mostly a `config.json` that names transformers' modules.

`w_enc` (d_in, d_sae), `w_dec` (d_sae, d_out), `b_enc`, `b_dec`, `threshold` (d_sae,), in some transcoders
`affine_skip_connection` (d_in, d_out); JumpReLU, b_dec not subtracted. Folders are named after the site and the layer
(`google/gemma-scope-2-1b-pt/resid_post/layer_13_width_16k_l0_small`; `resid_post_all` holds every layer). A cross-layer transcoder
(`clt/.../params_layer_3.safetensors`, `w_dec` (d_sae, layers from its own on, d_out)) is read a layer at a time; crosscoders read
several layers and are refused.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from sae.dictionary import CROSS_LAYER, Dictionary
from sae.errors import DictionaryError
from sae.formats.folding import of_relu
from sae.formats.location import Place, where_to
from sae.formats.readers import Tensors, read_config, read_safetensors, take
from sae.subject.hook_points import ours, parse

CONFIG, WEIGHTS = "config.json", "params.safetensors"
PUBLISHER = "Gemma Scope 2 (Google DeepMind)"
CHECKED = (
    "converted by sae-lens 6.54.12's loader, every site, with and without skip connection, encode and decode within 1e-5; layers"
    " of cross-layer transcoders, encode"
)
FILES: tuple[str, ...] = (WEIGHTS, CONFIG, "params_layer_{n}.safetensors")
_SITE = re.compile(r"(resid_post|attn_out|mlp_out|transcoder)(?:_all)?/layer_(\d+)")
_KINDS = {"resid_post": "resid_post", "attn_out": "attn_z", "mlp_out": "mlp_out", "transcoder": "mlp_in"}
"""What is read; the attention dictionaries stand at the input of its output projection."""
_ACROSS = re.compile(r"gemma-scope-2[\w.-]*/(?:.*/)?(clt|crosscoder)")


def matches(place: Place) -> bool:
    """Whether it is of this format."""
    return place.has(WEIGHTS) or _across(place) is not None


def load(place: Place) -> Dictionary:
    """Read it. Raises `DictionaryError` on what is damaged and, by name, on what is not supported."""
    across = _across(place)
    if across == "crosscoder":
        raise DictionaryError(
            f"{place.name} is a crosscoder: each feature reads several layers at once, so it has no value at one hook point: not"
            " supported"
        )
    config_file = place.folder / CONFIG
    config = read_config(config_file) if config_file.is_file() and across is None else {}
    if (architecture := config.get("architecture", "jump_relu")) != "jump_relu":
        raise DictionaryError(f"{config_file}: architecture {architecture!r} is not supported: use jump_relu")
    file = place.folder / WEIGHTS if across is None else place.one("params_layer_*.safetensors")
    hook_point = _where(place, file, config.get("hf_hook_point_in"), config_file)
    out = _output(config.get("hf_hook_point_out"), hook_point, config_file)
    tensors = read_safetensors(file)
    W_enc, W_dec = take(tensors, "w_enc", 2, file).T, take(tensors, "w_dec", 2 if across is None else 3, file)
    notes: list[str] = []
    b_dec, threshold = take(tensors, "b_dec", 1, file), of_relu(take(tensors, "threshold", 1, file), notes)
    if across is not None:
        notes += _across_notes(tensors, parse(hook_point)[1], W_dec.shape[1])
        b_dec = torch.cat([b_dec, b_dec.new_zeros((W_dec.shape[1] - 1) * len(b_dec))])
    skip = _skip(tensors, file) if across is None else None
    return Dictionary(
        W_enc=W_enc,
        b_enc=take(tensors, "b_enc", 1, file),
        W_dec=W_dec.flatten(1),
        b_dec=b_dec,
        activation="jumprelu",
        threshold=threshold,
        hook_point=hook_point,
        hook_point_out=out,
        W_skip=skip,
        architecture=_architecture(across, out, skip),
        path=str(place.folder if across is None else file),
        format="gemma_scope_2",
        notes=tuple(notes),
    )


def _across(place: Place) -> str | None:
    """`clt` or `crosscoder` where the names say that it spans layers."""
    match = _ACROSS.search(f"{place.folder.as_posix()}/{place.name}")
    return match[1] if match else None


def _where(place: Place, file: Path, said: object, config_file: Path) -> str:
    """The hook point: what the config says and the names do not contradict."""
    named = _named(place, file)
    if named and isinstance(said, str) and place.hook_point is None and ours(said) not in (None, named):
        raise DictionaryError(
            f"{config_file} reads {said}, but its folder is named for {named}: set dictionary.hook_point to the right one"
        )
    return place.where([name for name in (said, named) if isinstance(name, str)], config_file)


def _named(place: Place, file: Path) -> str | None:
    if layer := re.fullmatch(r"params_layer_(\d+)", file.stem):
        return f"mlp_in.{int(layer[1])}"
    match = _SITE.search(place.name) or _SITE.search(place.folder.as_posix())
    return f"{_KINDS[match[1]]}.{int(match[2])}" if match else None


def _output(name: object, hook_point: str, file: Path) -> str | None:
    """Where a transcoder's output belongs, None for an autoencoder, whose config names no other place than it reads."""
    found = None if name is None else where_to(name, file)
    if found is None and hook_point.startswith("mlp_in."):
        found = hook_point.replace("mlp_in", "mlp_out")
    return None if found == hook_point else found


def _skip(tensors: Tensors, file: Path) -> Tensor | None:
    return take(tensors, "affine_skip_connection", 2, file).T if "affine_skip_connection" in tensors else None


def _architecture(across: str | None, out: str | None, skip: Tensor | None) -> str:
    if across is not None:
        return CROSS_LAYER
    return "jumprelu" if out is None else "jumprelu_transcoder" if skip is None else "jumprelu_skip_transcoder"


def _across_notes(tensors: Tensors, layer: int, layers: int) -> list[str]:
    notes = [
        f"one layer of a cross-layer transcoder: an activation counts what it writes to all of {layers} layers from {layer} on",
        "its output is side by side what it adds to each of these layers, and reconstructs none: earlier layers write there too",
    ]
    if "affine_skip_connection" in tensors:
        notes.append("its skip connection, which no feature takes part in, is left out")
    return notes
