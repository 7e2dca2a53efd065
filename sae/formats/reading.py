"""What the adapters share: reading configs and tensors without trusting them, and naming hook points."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sae.errors import DictionaryError

_OURS = re.compile(r"(?:resid_post|mlp_act)\.\d+")
_TRANSFORMER_LENS = re.compile(r"blocks\.(\d+)\.(hook_resid_post|hook_resid_pre|mlp\.hook_post)")
_BLOCK = re.compile(r"(?:\w+\.)*(?:layers|h|blocks)\.(\d+)(?:\.output)?")
_DOWN_PROJECTION = re.compile(
    r"(?:\w+\.)*(?:layers|h|blocks)\.(\d+)\.(?:mlp\.(?:down_proj|c_proj|dense_4h_to_h|fc_out|fc2)|ffn\.down_proj|fc2)\.input"
)


def read_config(file: Path) -> dict[str, Any]:
    """A JSON object from `file`. Raises `DictionaryError`."""
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise DictionaryError(f"{file} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise DictionaryError(f"{file} is not JSON: {' '.join(str(error).split())[:120]}") from None
    if not isinstance(config, dict):
        raise DictionaryError(
            f"{file} holds a JSON {type(config).__name__}, not an object: it is not a dictionary's config"
        )
    return config


def read_safetensors(file: Path) -> dict[str, Tensor]:
    """All tensors of `file`, as float32. Raises `DictionaryError`; a pickle under this name is not executed."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return {name: as_float(tensor, name, file) for name, tensor in load_file(file).items()}
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        if isinstance(error, DictionaryError):
            raise
        reason = " ".join(str(error).split())[:120]
        raise DictionaryError(f"{file} is not a whole safetensors file ({reason}): copy or download it again") from None


def as_float(tensor: Tensor, name: str, file: Path) -> Tensor:
    """`tensor` as float32. Raises `DictionaryError` on integers and complex numbers."""
    if not tensor.is_floating_point():
        raise DictionaryError(f"{file}: {name} holds {str(tensor.dtype).removeprefix('torch.')}, not real numbers")
    return tensor.to(torch.float32)


def take(tensors: dict[str, Tensor], name: str, ndim: int, file: Path) -> Tensor:
    """The tensor called `name`, with `ndim` dimensions. Raises `DictionaryError` when it is missing or of another rank."""
    if name not in tensors:
        held = ", ".join(sorted(tensors)) or "nothing"
        raise DictionaryError(f"{file} lacks the tensor {name} (it holds {held}): it is damaged or of another format")
    if tensors[name].ndim != ndim:
        raise DictionaryError(f"{file}: {name} has shape {tuple(tensors[name].shape)}, not {ndim} dimensions")
    return tensors[name]


def our_hook_point(name: str) -> str | None:
    """Our name of a hook point that TransformerLens or transformers names, or None when it is another place.

    `blocks.L.hook_resid_pre` is the output of block L - 1. A bare module path means that module's output, so that
    `layers.5.mlp` is not among ours, while `layers.5` and `layers.5.mlp.down_proj.input` are.
    """
    if _OURS.fullmatch(name):
        return name
    if match := _TRANSFORMER_LENS.fullmatch(name):
        layer = int(match[1]) - (match[2] == "hook_resid_pre")
        kind = "mlp_act" if match[2] == "mlp.hook_post" else "resid_post"
        return f"{kind}.{layer}" if layer >= 0 else None
    if match := _BLOCK.fullmatch(name):
        return f"resid_post.{match[1]}"
    if match := _DOWN_PROJECTION.fullmatch(name):
        return f"mlp_act.{match[1]}"
    return None


def choose_hook_point(given: str | None, names: list[str], source: Path) -> str:
    """`given`, else the first of `names` that is one of ours. Raises `DictionaryError` saying what to set."""
    if given is not None:
        if not _OURS.fullmatch(given):
            raise DictionaryError(
                f"hook point {given!r} is not known: use resid_post.L or mlp_act.L, such as resid_post.12"
            )
        return given
    for name in names:
        if found := our_hook_point(name):
            return found
    if names:
        raise DictionaryError(
            f"{source} reads {names[0]}, which is neither resid_post.L nor mlp_act.L: such dictionaries are not supported"
            " (set dictionary.hook_point only if the name is wrong)"
        )
    raise DictionaryError(f"{source} does not say where it reads: set dictionary.hook_point, such as resid_post.12")
