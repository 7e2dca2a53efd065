"""Writes a SAELens folder, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from sae.dictionary import Dictionary
from sae.errors import DictionaryError
from sae.files import write_text, written_whole
from sae.formats.saelens.config import CONFIG, INPUT_NORMS
from sae.subject.hook_points import parse

WEIGHTS = "sae_weights.safetensors"
_LAYOUT = "6.54.12"
"""The version of SAELens that has this layout. Without a version, SAELens assumes an old file and drops its metadata."""
_ARCHITECTURES = {"relu": "standard", "jumprelu": "jumprelu", "topk": "topk"}
_LENS_NAMES = {"attn_z": "attn.hook_z", "mlp_in": "mlp.hook_in", "mlp_act": "mlp.hook_post"}
"""TransformerLens' names of kinds of hook point that are not `hook_` and our name."""


def save(folder: Path, dictionary: Dictionary, *, model_name: str, metadata: Mapping[str, Any] | None = None) -> None:
    """Write `dictionary` to `folder`, so that `load` here and SAELens read back the same dictionary.

    `model_name` is the subject's; `metadata` are further JSON values. Each file is written whole, the config last, so that an
    interrupted folder is not mistaken for a dictionary. Raises `DictionaryError` for what SAELens has no field for: an input scale,
    which has to be folded into the weights, groupmax, and transcoders.
    """
    norm = next((name for name, own in INPUT_NORMS.items() if own == dictionary.input_norm), None)
    if norm is None:
        raise DictionaryError(
            f"{folder}: SAELens has no field for input_scale = {dictionary.input_scale:g}: fold it into the weights"
        )
    architecture = _ARCHITECTURES.get(dictionary.activation)
    if architecture is None or dictionary.hook_point_out is not None:
        kind = "transcoders" if architecture else f"dictionaries with activation {dictionary.activation}"
        supported = ", ".join(_ARCHITECTURES)
        raise DictionaryError(f"{folder}: {kind} cannot be written: only autoencoders with {supported} can")
    kind, layer = parse(dictionary.hook_point)
    own = {
        "model_name": model_name,
        "hook_name": "hook_embed" if kind == "embed" else f"blocks.{layer}.{_LENS_NAMES.get(kind, f'hook_{kind}')}",
        "hook_point": dictionary.hook_point,
        "sae_lens_version": _LAYOUT,
    }
    config: dict[str, Any] = {
        "architecture": architecture,
        "d_in": dictionary.d_in,
        "d_sae": dictionary.d_sae,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": dictionary.apply_b_dec_to_input,
        "normalize_activations": norm,
        "reshape_activations": "none",
        "metadata": {**(metadata or {}), **own},
    }
    tensors = {
        "W_enc": dictionary.W_enc.T,
        "W_dec": dictionary.W_dec,
        "b_enc": dictionary.b_enc,
        "b_dec": dictionary.b_dec,
    }
    if dictionary.activation == "topk":
        config |= {"k": dictionary.k, "rescale_acts_by_decoder_norm": False}
    if dictionary.threshold is not None:
        tensors["threshold"] = dictionary.threshold
    _write(folder, config, {name: t.detach().to("cpu", torch.float32) for name, t in tensors.items()})


def _write(folder: Path, config: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    text = json.dumps(config, indent=2, allow_nan=False) + "\n"
    # Copies, because safetensors refuses tensors that share memory.
    whole = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG).unlink(missing_ok=True)
        with written_whole(folder / WEIGHTS) as partial:
            save_file(whole, partial)
        write_text(folder / CONFIG, text)
    except OSError as error:
        raise DictionaryError(f"{folder} cannot be written: {error.strerror or error}") from None
