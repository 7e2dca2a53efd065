"""Gemma Scope 1: `params.npz` with `W_enc` (d_in, d_sae), `W_dec` (d_sae, d_out), `b_enc`, `b_dec`, `threshold` (d_sae,).

JumpReLU, b_dec not subtracted (https://arxiv.org/abs/2408.05147). The file does not name its hook point; the repository and folders
do (`google/gemma-scope-2b-pt-res/layer_12/width_16k/average_l0_82`). By site:

    res          resid_post.L; under `embedding`, resid_pre.0 in the units of the embedding matrix, before Gemma's factor sqrt(d)
    mlp          mlp_out.L, after the norm that follows the MLP
    att          attn_z.L
    transcoders  from resid_mid.L divided by its root mean square, before that norm's gain, to mlp_out.L
"""

from __future__ import annotations

import math
import re
from typing import Any

from sae.dictionary import Dictionary
from sae.formats.folding import clamp_threshold
from sae.formats.location import DictionaryLocation
from sae.formats.readers import get_tensor, read_npz
from sae.subject.hook_points import parse

WEIGHTS = "params.npz"
PUBLISHER = "Gemma Scope 1 (Google DeepMind)"
CHECKED = "files as converted by sae-lens 6.54.12: every site, encode and decode"
FILES: tuple[str, ...] = (WEIGHTS,)
_NAMES = ("W_enc", "W_dec", "b_enc", "b_dec", "threshold")
_PUBLISHED = {name.lower(): name for name in _NAMES}
_SITE = re.compile(r"gemma-scope-\w+-(?:pt|it)-(res|mlp|att|transcoders)(?![\w-])")
_KINDS = {"res": "resid_post", "mlp": "mlp_out", "att": "attn_z", "transcoders": "resid_mid"}


def matches(location: DictionaryLocation) -> bool:
    """Whether it is of this format."""
    return location.has_files(WEIGHTS)


def load(location: DictionaryLocation) -> Dictionary:
    """Read it. Raises `DictionaryError`."""
    file = location.folder / WEIGHTS
    site = _site(location)
    hook_point = location.choose_hook_point(_hook_point(site, location), file)
    tensors = {_PUBLISHED.get(name.lower(), name): tensor for name, tensor in read_npz(file, _NAMES).items()}
    W_enc, W_dec = get_tensor(tensors, "W_enc", 2, file).T, get_tensor(tensors, "W_dec", 2, file)
    b_enc, b_dec, threshold = (get_tensor(tensors, name, 1, file) for name in _NAMES[2:])
    notes: list[str] = []
    threshold = clamp_threshold(threshold, notes)
    site_fields: dict[str, Any] = {}
    if site == "transcoders":
        site_fields = {"input_norm": "per_token", "hook_point_out": f"mlp_out.{parse(hook_point)[1]}"}
        notes.append("its input is divided by its root mean square, without the model's epsilon of 1e-6")
    elif site == "embedding":
        site_fields = {"input_norm": "scale", "input_scale": 1 / math.sqrt(W_enc.shape[1])}
        notes.append("it reads embeddings before Gemma multiplies them by the square root of their width")
    return Dictionary(
        W_enc=W_enc,
        b_enc=b_enc,
        W_dec=W_dec,
        b_dec=b_dec,
        activation="jumprelu",
        threshold=threshold,
        hook_point=hook_point,
        architecture="jumprelu_transcoder" if site == "transcoders" else "jumprelu",
        path=str(location.folder),
        format="gemma_scope",
        notes=tuple(notes),
        **site_fields,
    )


def _site(location: DictionaryLocation) -> str | None:
    """The site that it reads, from the repository's name; None if the name does not say it."""
    path = f"{location.folder.as_posix()}/{location.name}"
    sites = _SITE.findall(path)
    if sites and sites[-1] == "res" and re.search(r"/embedding(?:/|$)", path):
        return "embedding"
    return sites[-1] if sites else None


def _hook_point(site: str | None, location: DictionaryLocation) -> list[str]:
    """The hook point that the names state, if they do."""
    layer = location.number_in_names(r"layer_(\d+)")
    if site == "embedding":
        return ["resid_pre.0"]
    return [] if site is None or layer is None else [f"{_KINDS[site]}.{layer}"]
