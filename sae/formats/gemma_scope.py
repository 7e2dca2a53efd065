"""Gemma Scope 1: `params.npz` with `W_enc` (d_in, d_sae), `W_dec` (d_sae, d_in), `b_enc`, `b_dec`, `threshold` (d_sae,).

JumpReLU on the raw residual stream, b_dec not subtracted (https://arxiv.org/abs/2408.05147). Nothing inside says where it reads:
the folders do (`google/gemma-scope-2b-pt-res/layer_12/width_16k/average_l0_82`). Its MLP and attention dictionaries read
places that have no hook point here.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sae.dictionary import Dictionary
from sae.errors import DictionaryError
from sae.formats.reading import as_float, choose_hook_point, take

WEIGHTS = "params.npz"
FILES: tuple[str, ...] = (WEIGHTS,)
_NAMES = ("W_enc", "W_dec", "b_enc", "b_dec", "threshold")
_LAYER = re.compile(r"layer_(\d+)")
_SITE = re.compile(r"gemma-scope-\w+-(?:pt|it)-(\w+)")


def matches(folder: Path) -> bool:
    """Whether `folder` holds a dictionary of this format."""
    return (folder / WEIGHTS).is_file()


def load(folder: Path, hook_point: str | None = None) -> Dictionary:
    """Read a folder. Raises `DictionaryError`."""
    file = folder / WEIGHTS
    where = choose_hook_point(hook_point, _hook_names(folder), file)
    tensors = _read_npz(file)
    W_enc, W_dec = take(tensors, "W_enc", 2, file).T.contiguous(), take(tensors, "W_dec", 2, file)
    b_enc, b_dec, threshold = (take(tensors, name, 1, file) for name in _NAMES[2:])
    return Dictionary(
        W_enc=W_enc,
        b_enc=b_enc,
        W_dec=W_dec.contiguous(),
        b_dec=b_dec,
        activation="jumprelu",
        # The published encoder gates relu(z), for which a negative threshold is the same as 0.
        threshold=threshold.clamp_min(0),
        hook_point=where,
        architecture="jumprelu",
        path=str(folder),
        format="gemma_scope",
    )


def _hook_names(folder: Path) -> list[str]:
    layers = [match[1] for part in folder.parts if (match := _LAYER.fullmatch(part))]
    if not layers:
        return []
    sites = [match[1] for part in folder.parts if (match := _SITE.search(part))]
    site = sites[-1] if sites else "res"
    return [f"resid_post.{layers[-1]}" if site == "res" else f"the {site} site of layer {layers[-1]}"]


def _read_npz(file: Path) -> dict[str, Tensor]:
    """All arrays as float32, their names' first letter in the published case; arrays of objects (pickles) are refused."""
    try:
        # numpy leaves a file that it opened itself open when the archive is broken.
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (
        OSError,
        ValueError,
        EOFError,
        KeyError,
        zipfile.BadZipFile,
        zlib.error,
        AttributeError,
        TypeError,
    ) as error:
        reason = " ".join(str(error).split())[:120]
        if "pickle" in reason:
            raise DictionaryError(
                f"{file} holds pickled objects, which can run code when loaded: save plain arrays"
            ) from None
        raise DictionaryError(f"{file} is not a whole npz file ({reason}): copy or download it again") from None
    published = {name.lower(): name for name in _NAMES}
    result: dict[str, Tensor] = {}
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f":  # members that are not .npy come back as bytes
            raise DictionaryError(f"{file}: {name} holds {getattr(array, 'dtype', 'bytes')}, not real numbers")
        native = array.astype(np.float32, copy=False)
        result[published.get(name.lower(), name)] = as_float(torch.from_numpy(np.ascontiguousarray(native)), name, file)
    return result
