"""Reads a text: which features are active at each of its tokens, and how strongly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from autointerp.explorer.live import limits
from autointerp.explorer.live.model import LiveModel
from autointerp.explorer.live.questions import Reading
from sae.analysis.chunked import feature_chunks
from sae.analysis.unit_probe import encode_texts, most_tokens
from sae.studies.steered_texts import in_template
from sae.subject.token_text import token_texts

_DIGITS = 5


@torch.inference_mode()
def read(model: LiveModel, job: Reading) -> Iterator[dict[str, Any]]:
    """One part: the `tokens`, whether each is `counted`, the number that was cut off, and `active`: for each token the numbers and the
    activations of its active features. `units` has the activations of the job's neurons at all tokens.

    The forward pass ends at the hook point. Raises `SubjectError` if the text cannot be encoded, and without a chat template if one is
    asked for.
    """
    subject, dictionary = model.subject, model.dictionary
    whole = encode_texts(subject, [in_template(subject, job.text) if job.chat else job.text])[0]
    ids = whole[: min(limits.TOKENS, most_tokens(subject))]
    tokens = token_texts(subject.tokenizer, ids)
    if not ids:
        yield {"tokens": [], "counted": [], "n_cut": 0, "active": [], "units": {}}
        return
    neurons = [unit for unit in map(model.unit, job.units) if unit.kind == "neuron"]
    layer = [subject.neuron_hook_point(dictionary.hook_point)] if neurons else []
    values, counted = model.values(ids, [dictionary.hook_point, *layer])
    of_neurons = {
        unit.unit_id: _listed(torch.where(counted, values[layer[0]][:, unit.index] * (-1 if unit.sign == "-" else 1), 0).relu())
        for unit in neurons
    }  # fmt: skip
    yield {
        "tokens": tokens,
        "counted": counted.tolist(),
        "n_cut": len(whole) - len(ids),
        "active": _active(model, values[dictionary.hook_point], counted),
        "units": of_neurons,
    }


def _active(model: LiveModel, x: Tensor, counted: Tensor) -> list[tuple[list[int], list[float]]]:
    """The numbers and the activations of the features that are active at each token (T, d_in), at most `limits.ACTIVE`, the strongest."""
    places = counted.nonzero().squeeze(1)
    found: list[tuple[list[int], list[float]]] = [([], []) for _ in range(len(x))]
    if not len(places):
        return found
    norms = model.dictionary.decoder_norm
    parts = []
    for chunk in feature_chunks(model.dictionary, x[places]):
        row, feature = (chunk.f > 0).nonzero(as_tuple=True)
        number = feature + chunk.start
        parts.append((row, number, chunk.f[row, feature] * norms[number.to(norms.device)].to(chunk.f)))
    row, number, value = (torch.cat(part).cpu() for part in zip(*parts, strict=True))
    order = value.argsort(descending=True)
    order = order[row[order].argsort(stable=True)]
    sizes = torch.bincount(row, minlength=len(places)).tolist()
    for place, here in zip(places.tolist(), torch.split(order, sizes), strict=True):
        strongest = here[: limits.ACTIVE]
        found[place] = number[strongest].tolist(), _listed(value[strongest])
    return found


def _listed(values: Tensor) -> list[float]:
    return [float(f"{value:.{_DIGITS}g}") for value in values.tolist()]
