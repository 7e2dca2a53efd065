"""Gemma Scope 2, on Gemma 3: `params.safetensors`, and usually a `config.json` that names modules of transformers.

`w_enc` (d_in, d_sae), `w_dec` (d_sae, d_out), `b_enc`, `b_dec`, `threshold` (d_sae,), in some transcoders
`affine_skip_connection` (d_in, d_out); JumpReLU, b_dec not subtracted. Folders are named after the site and the layer
(`google/gemma-scope-2-1b-pt/resid_post/layer_13_width_16k_l0_small`; `resid_post_all` holds every layer). A cross-layer transcoder
(`clt/.../params_layer_3.safetensors`, `w_dec` (d_sae, layers from its own on, d_out)) is read one layer at a time; crosscoders, which
read several layers, are not supported.
"""

from __future__ import annotations

import re
from pathlib import Path

from torch import Tensor

from sae.dictionary import CROSS_LAYER, Dictionary
from sae.errors import DictionaryError
from sae.formats.folding import clamp_threshold, join_layers
from sae.formats.location import DictionaryLocation, output_hook_point
from sae.formats.readers import Tensors, get_tensor, read_config, read_safetensors
from sae.subject.hook_points import parse, to_hook_point

CONFIG, WEIGHTS = "config.json", "params.safetensors"
PUBLISHER = "Gemma Scope 2 (Google DeepMind)"
CHECKED = (
    "files as converted by sae-lens 6.54.12: every site, with and without skip connection, encode and decode; cross-layer"
    " transcoders layer by layer, encode"
)
FILES: tuple[str, ...] = (WEIGHTS, CONFIG, "params_layer_{n}.safetensors")
_SITE = re.compile(r"(resid_post|attn_out|mlp_out|transcoder)(?:_all)?/layer_(\d+)")
_KINDS = {"resid_post": "resid_post", "attn_out": "attn_z", "mlp_out": "mlp_out", "transcoder": "mlp_in"}
"""The kind of hook point by site. Attention dictionaries read the input of attention's output projection."""
_ACROSS = re.compile(r"gemma-scope-2[\w.-]*/(?:.*/)?(clt|crosscoder)")


def matches(location: DictionaryLocation) -> bool:
    """Whether it is of this format."""
    return location.has_files(WEIGHTS) or _kind_across_layers(location) is not None


def load(location: DictionaryLocation) -> Dictionary:
    """Read it. Raises `DictionaryError` if it is damaged, or if a part named in the message is not supported."""
    across = _kind_across_layers(location)
    if across == "crosscoder":
        raise DictionaryError(
            f"{location.name} is a crosscoder, whose features read several layers at once and have no value at one hook point: that is"
            " not supported"
        )
    config_file = location.folder / CONFIG
    config = read_config(config_file) if config_file.is_file() and across is None else {}
    if (architecture := config.get("architecture", "jump_relu")) != "jump_relu":
        raise DictionaryError(f"{config_file}: architecture {architecture!r} is not supported: use jump_relu")
    file = location.folder / WEIGHTS if across is None else location.require_file("params_layer_*.safetensors")
    hook_point = _input(location, file, config.get("hf_hook_point_in"), config_file)
    out = _output(config.get("hf_hook_point_out"), hook_point, config_file)
    tensors = read_safetensors(file)
    W_enc, W_dec = (
        get_tensor(tensors, "w_enc", 2, file).T,
        get_tensor(tensors, "w_dec", 2 if across is None else 3, file),
    )
    notes: list[str] = []
    b_dec, threshold = (
        get_tensor(tensors, "b_dec", 1, file),
        clamp_threshold(get_tensor(tensors, "threshold", 1, file), notes),
    )
    if across is not None:
        W_dec, b_dec, layer_notes = join_layers(W_dec, b_dec, parse(hook_point)[1])
        notes += layer_notes
        if "affine_skip_connection" in tensors:
            notes.append("its skip connection, in which no feature takes part, is left out")
    skip = _skip(tensors, file) if across is None else None
    return Dictionary(
        W_enc=W_enc,
        b_enc=get_tensor(tensors, "b_enc", 1, file),
        W_dec=W_dec,
        b_dec=b_dec,
        activation="jumprelu",
        threshold=threshold,
        hook_point=hook_point,
        hook_point_out=out,
        W_skip=skip,
        architecture=_architecture(across, out, skip),
        path=str(location.folder if across is None else file),
        format="gemma_scope_2",
        notes=tuple(notes),
    )


def _kind_across_layers(location: DictionaryLocation) -> str | None:
    """`clt` or `crosscoder`, if the names say that it spans layers."""
    match = _ACROSS.search(f"{location.folder.as_posix()}/{location.name}")
    return match[1] if match else None


def _input(location: DictionaryLocation, file: Path, configured: object, config_file: Path) -> str:
    """The hook point that is read. Raises `DictionaryError` if the config and the names of the folders disagree."""
    named = _hook_point_in_names(location, file)
    overridden = location.hook_point is not None
    if named and isinstance(configured, str) and not overridden and to_hook_point(configured) not in (None, named):
        raise DictionaryError(
            f"{config_file} reads {configured}, but its folder is named after {named}: set dictionary.hook_point to the right one"
        )
    return location.choose_hook_point([name for name in (configured, named) if isinstance(name, str)], config_file)


def _hook_point_in_names(location: DictionaryLocation, file: Path) -> str | None:
    if layer := re.fullmatch(r"params_layer_(\d+)", file.stem):
        return f"mlp_in.{int(layer[1])}"
    match = _SITE.search(location.name) or _SITE.search(location.folder.as_posix())
    return f"{_KINDS[match[1]]}.{int(match[2])}" if match else None


def _output(name: object, hook_point: str, file: Path) -> str | None:
    """The hook point that a transcoder writes to; None for an autoencoder, whose config names only the one that it reads."""
    out = None if name is None else output_hook_point(name, file)
    if out is None and hook_point.startswith("mlp_in."):
        out = hook_point.replace("mlp_in", "mlp_out")
    return None if out == hook_point else out


def _skip(tensors: Tensors, file: Path) -> Tensor | None:
    return get_tensor(tensors, "affine_skip_connection", 2, file).T if "affine_skip_connection" in tensors else None


def _architecture(across: str | None, out: str | None, skip: Tensor | None) -> str:
    if across is not None:
        return CROSS_LAYER
    return "jumprelu" if out is None else "jumprelu_transcoder" if skip is None else "jumprelu_skip_transcoder"
