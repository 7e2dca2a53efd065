"""Gemma Scope 1: `params.npz` with `W_enc` (d_in, d_sae), `W_dec` (d_sae, d_in), `b_enc`, `b_dec`, `threshold` (d_sae,).

JumpReLU on the raw residual stream, b_dec not subtracted (https://arxiv.org/abs/2408.05147). Nothing inside says where it reads:
the folders do (`google/gemma-scope-2b-pt-res/layer_12/width_16k/average_l0_82`). Its MLP and attention dictionaries read
places that have no hook point here.
"""

from __future__ import annotations

import re
from pathlib import Path

from sae.dictionary import Dictionary
from sae.formats.place import Place
from sae.formats.reading import read_npz, take

WEIGHTS = "params.npz"
PUBLISHER, CHECKED = "Gemma Scope 1 (Google DeepMind)", ""
FILES: tuple[str, ...] = (WEIGHTS,)
_NAMES = ("W_enc", "W_dec", "b_enc", "b_dec", "threshold")
_PUBLISHED = {name.lower(): name for name in _NAMES}
_LAYER = re.compile(r"layer_(\d+)")
_SITE = re.compile(r"gemma-scope-\w+-(?:pt|it)-(\w+)")


def matches(place: Place) -> bool:
    """Whether it is of this format."""
    return place.has(WEIGHTS)


def load(place: Place) -> Dictionary:
    """Read it. Raises `DictionaryError`."""
    folder = place.folder
    file = folder / WEIGHTS
    where = place.where(_hook_names(folder), file)
    tensors = {_PUBLISHED.get(name.lower(), name): tensor for name, tensor in read_npz(file).items()}
    W_enc, W_dec = take(tensors, "W_enc", 2, file).T, take(tensors, "W_dec", 2, file)
    b_enc, b_dec, threshold = (take(tensors, name, 1, file) for name in _NAMES[2:])
    return Dictionary(
        W_enc=W_enc,
        b_enc=b_enc,
        W_dec=W_dec,
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
