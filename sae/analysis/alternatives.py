"""Alternative readings of a dictionary that explains little: another hook point, or another normalisation of its input."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from sae.analysis.chunked import reconstruct, variance_explained
from sae.analysis.token_sample import TokenSample
from sae.dictionary import Dictionary
from sae.errors import SubjectError
from sae.harvest.uncounted import MAX_NORM_RATIO
from sae.subject.hook_points import KINDS, parse
from sae.subject.model import Subject

TOKENS = 512
"""Tokens for each alternative: few enough to hold the values of all layers, enough to see a difference of `fit_check.BETTER`."""
HOOK_POINTS_AT_ONCE = 64


class Alternative(NamedTuple):
    """An alternative reading: the share of the variance that it explains, what that would mean, and what to do about it."""

    explained: float
    meaning: str
    remedy: str


def find_alternatives(
    subject: Subject, dictionary: Dictionary, sample: TokenSample, x: Tensor, y: Tensor
) -> list[Alternative]:
    """Try other normalisations of rows x and y, and other hook points over the sample. Returns all alternatives, the best first."""
    tried = [*_normalisations(dictionary, x[:TOKENS], y[:TOKENS]), *_hook_points(subject, dictionary, sample)]
    return sorted((a for a in tried if math.isfinite(a.explained)), key=lambda a: -a.explained)


def _normalisations(dictionary: Dictionary, x: Tensor, y: Tensor) -> Iterator[Alternative]:
    plain = replace(dictionary, input_norm="none", input_scale=1.0, output_scale=None)
    norm, norm_out = (float(v.norm(dim=1).mean().clamp_min(1e-12)) for v in (x, y))

    def scaled(length: float, length_out: float) -> Dictionary:
        out = None if dictionary.hook_point_out is None else length_out / norm_out
        return replace(plain, input_norm="scale", input_scale=length / norm, output_scale=out)

    readings = {
        "without normalisation": plain,
        "scaled to a mean norm of sqrt(d)": scaled(math.sqrt(x.shape[1]), math.sqrt(y.shape[1])),
        "scaled to a mean norm of 1": scaled(1.0, 1.0),
        "scaled to norm sqrt(d) per token": replace(plain, input_norm="per_token"),
        "after a layer norm": replace(plain, input_norm="layer_norm"),
    }
    for name, reading in readings.items():
        if reading.input_norm != dictionary.input_norm or dictionary.input_norm == "scale":
            yield _normalised(name, _explained(reading, x, y))
    centred = (v - v.mean(dim=1, keepdim=True) for v in (x, y))
    yield _normalised("minus their mean over dimensions", _explained(dictionary, *centred))


def _normalised(name: str, explained: float) -> Alternative:
    return Alternative(
        explained, f"it looks trained on activations {name}", "its files do not say so: ask its publisher"
    )


def _hook_points(subject: Subject, dictionary: Dictionary, sample: TokenSample) -> Iterator[Alternative]:
    pairs = list(_pairs(subject, dictionary))
    for start in range(0, len(pairs), HOOK_POINTS_AT_ONCE):
        part = pairs[start : start + HOOK_POINTS_AT_ONCE]
        values = _values(subject, sample, sorted({name for pair in part for name in pair}))
        for reads, writes in part:
            norms = values[reads].norm(dim=1)
            kept = norms <= MAX_NORM_RATIO * norms.median()
            explained = _explained(dictionary, values[reads][kept], values[writes][kept])
            yield Alternative(explained, f"it looks trained on {reads}", f'set dictionary.hook_point = "{reads}"')


def _pairs(subject: Subject, dictionary: Dictionary) -> Iterator[tuple[str, str]]:
    """Hook points that could be read, and written, instead: the same kind at every other layer, and for an autoencoder also every
    other kind at its layer, each if it has the right width."""
    reads, writes = dictionary.hook_point, dictionary.hook_point_out
    kind, layer = parse(reads)
    names = [f"{kind}.{other}" for other in range(subject.n_layers) if other != layer]
    if writes is None:
        names += [
            f"{other}.{layer}"
            for other in KINDS
            if other != kind and (other not in ("embed", "resid_pre") or layer == 0)
        ]
    for name in names:
        output = name
        if writes is not None:
            kind_out, layer_out = parse(writes)
            output = f"{kind_out}.{layer_out + parse(name)[1] - layer}"
        try:
            fits = subject.width(name) == dictionary.d_in and subject.width(output) == dictionary.d_out
        except SubjectError:
            continue
        if fits:
            yield name, output


def _values(subject: Subject, sample: TokenSample, names: list[str]) -> dict[str, Tensor]:
    """Values (n, width) of the sample's first tokens at each hook point."""
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    n = 0
    for tokens, text in sample.batches(TOKENS, subject.device):
        sites = subject.run(tokens, names)
        for name in names:
            parts[name].append(sites[name][text])
        n += int(text.sum())
        if n >= TOKENS:
            break
    return {name: torch.cat(values)[:TOKENS] for name, values in parts.items()}


def _explained(dictionary: Dictionary, x: Tensor, y: Tensor) -> float:
    return variance_explained(y, reconstruct(dictionary, x)[0])
