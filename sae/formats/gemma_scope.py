"""Gemma Scope 1: `params.npz` with `W_enc` (d_in, d_sae), `W_dec` (d_sae, d_out), `b_enc`, `b_dec`, `threshold` (d_sae,).

JumpReLU, b_dec not subtracted (https://arxiv.org/abs/2408.05147). Nothing inside says where it reads: repository and folders do
(`google/gemma-scope-2b-pt-res/layer_12/width_16k/average_l0_82`). By site:

    res          resid_post.L; under `embedding`, resid_pre.0 in the embedding matrix' own units, before Gemma's factor sqrt(d)
    mlp          mlp_out.L, after the norm that follows the MLP
    att          attn_z.L
    transcoders  resid_mid.L divided by its root mean square, before that norm's gain; to mlp_out.L
"""

from __future__ import annotations

import math
import re
from typing import Any

from sae.dictionary import Dictionary
from sae.formats.folding import of_relu
from sae.formats.location import Place
from sae.formats.readers import read_npz, take
from sae.subject.hook_points import parse

WEIGHTS = "params.npz"
PUBLISHER = "Gemma Scope 1 (Google DeepMind)"
CHECKED = "converted by sae-lens 6.54.12's loaders, every site, encode and decode within 1e-5"
FILES: tuple[str, ...] = (WEIGHTS,)
_NAMES = ("W_enc", "W_dec", "b_enc", "b_dec", "threshold")
_PUBLISHED = {name.lower(): name for name in _NAMES}
_SITE = re.compile(r"gemma-scope-\w+-(?:pt|it)-(res|mlp|att|transcoders)(?![\w-])")
_KINDS = {"res": "resid_post", "mlp": "mlp_out", "att": "attn_z", "transcoders": "resid_mid"}


def matches(place: Place) -> bool:
    """Whether it is of this format."""
    return place.has(WEIGHTS)


def load(place: Place) -> Dictionary:
    """Read it. Raises `DictionaryError`."""
    file = place.folder / WEIGHTS
    site = _site(place)
    hook_point = place.where(_names(site, place), file)
    tensors = {_PUBLISHED.get(name.lower(), name): tensor for name, tensor in read_npz(file).items()}
    W_enc, W_dec = take(tensors, "W_enc", 2, file).T, take(tensors, "W_dec", 2, file)
    b_enc, b_dec, threshold = (take(tensors, name, 1, file) for name in _NAMES[2:])
    notes: list[str] = []
    threshold = of_relu(threshold, notes)
    special: dict[str, Any] = {}
    if site == "transcoders":
        special = {"input_norm": "per_token", "hook_point_out": f"mlp_out.{parse(hook_point)[1]}"}
        notes.append("its input is divided by its root mean square without the model's epsilon of 1e-6")
    elif site == "embedding":
        special = {"input_norm": "scale", "input_scale": 1 / math.sqrt(W_enc.shape[1])}
        notes.append("reads embeddings before Gemma multiplies them by the square root of their width")
    return Dictionary(
        W_enc=W_enc,
        b_enc=b_enc,
        W_dec=W_dec,
        b_dec=b_dec,
        activation="jumprelu",
        threshold=threshold,
        hook_point=hook_point,
        architecture="jumprelu_transcoder" if site == "transcoders" else "jumprelu",
        path=str(place.folder),
        format="gemma_scope",
        notes=tuple(notes),
        **special,
    )


def _site(place: Place) -> str | None:
    """The kind of place that it reads, from the repository's name, or None where that is not to be seen."""
    path = f"{place.folder.as_posix()}/{place.name}"
    found = _SITE.findall(path)
    if found and found[-1] == "res" and re.search(r"/embedding(?:/|$)", path):
        return "embedding"
    return found[-1] if found else None


def _names(site: str | None, place: Place) -> list[str]:
    layer = place.number(r"layer_(\d+)")
    if site == "embedding":
        return ["resid_pre.0"]
    return [] if site is None or layer is None else [f"{_KINDS[site]}.{layer}"]
