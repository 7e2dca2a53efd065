"""A unit's nearest units in the whole dictionary, or of the whole layer: by direction, and by co-activation.

Co-activation is the cosine of two units' activations over tokens. The values of these tokens are kept, not the activations of the
whole dictionary, which are computed a chunk of features at a time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import normalize

from sae.analysis.chunked import ELEMENTS, FeatureChunk, feature_chunks
from sae.analysis.directions import LargestCosines, candidate_numbers, cosines, nearest, unit_of
from sae.analysis.explainer_windows import WindowSettings, in_turn
from sae.analysis.unit_probe import BATCH_TOKENS, activations_of, read_values
from sae.corpus.corpus import Corpus
from sae.harvest.harvest import UnitReader, batches
from sae.harvest.units import UnitKey


class Neighbour(NamedTuple):
    """A unit near another: the cosine of their directions, and that of their activations."""

    unit: UnitKey
    cosine: float
    coactivation: float


class _Read(NamedTuple):
    """The counted tokens (N): the reader's activations (units, N), and the values (N, width) at its hook points."""

    activations: Tensor
    values: dict[str, Tensor]


@torch.inference_mode()
def nearest_units(
    reader: UnitReader, corpus: Corpus, rows: npt.NDArray[np.int64], n: int, settings: WindowSettings
) -> list[list[Neighbour]]:
    """The `n` nearest other units of each of the reader's units, in the whole dictionary or layer, nearest first.

    Neurons are near by co-activation at the counted tokens of the contexts `rows`, of which there is at least one, features by
    direction and by co-activation in turn. Only cosines above 0 count. Both signs of a neuron are candidates.
    """
    read = _read(reader, corpus, rows, settings)
    near: list[list[Neighbour]] = [[] for _ in reader.units]
    for kind in ("feature", "neuron"):
        of_kind = [number for number, unit in enumerate(reader.units) if unit.kind == kind]
        if of_kind:
            units = [reader.units[number] for number in of_kind]
            found = _nearest_of_kind(reader, kind, units, read.activations[of_kind], read.values, n)
            for number, neighbours in zip(of_kind, found, strict=True):
                near[number] = neighbours
    return near


def _read(reader: UnitReader, corpus: Corpus, rows: npt.NDArray[np.int64], settings: WindowSettings) -> _Read:
    activations: list[Tensor] = []
    values: dict[str, list[Tensor]] = defaultdict(list)
    for batch in batches(corpus, rows, BATCH_TOKENS):
        read, counted = read_values(reader, corpus, batch, settings.skip_positions, settings.norm_limit)
        activations.append(activations_of(reader, read, counted)[:, counted])
        for name, value in read.items():
            values[name].append(value[counted])
    return _Read(torch.cat(activations, dim=1), {name: torch.cat(parts) for name, parts in values.items()})


def _nearest_of_kind(
    reader: UnitReader,
    kind: str,
    units: Sequence[UnitKey],
    activations: Tensor,
    values: dict[str, Tensor],
    n: int,
) -> list[list[Neighbour]]:
    """`nearest_units` of units of one kind, given their activations (units, N) and the values (N, width) at hook points."""
    subject, dictionary = reader.subject, reader.dictionary
    by_direction: list[list[UnitKey]] = [[] for _ in units]
    if kind == "feature":
        by_direction = nearest(subject, dictionary, units, n)
        chunks = feature_chunks(dictionary, values[reader.hook_point])
    else:
        chunks = _neuron_chunks(values[reader.neuron_hook_point])
    together = _coactivations(units, activations, by_direction, chunks, n)
    by_coactivation = [[unit for unit in sorted(row, key=lambda unit: -row[unit]) if row[unit] > 0] for row in together]
    lists = zip(by_direction, by_coactivation, strict=True)
    chosen = [list(dict.fromkeys(in_turn([a, b] if kind == "feature" else [b])))[:n] for a, b in lists]
    return [
        [Neighbour(*of_one, row[of_one[0]]) for of_one in zip(near, directions, strict=True)]
        for near, directions, row in zip(chosen, cosines(subject, dictionary, units, chosen), together, strict=True)
    ]


def _neuron_chunks(m: Tensor) -> Iterator[FeatureChunk]:
    """Activations of all signed neurons, numbered as candidates, from the values m (N, n_mlp) of neurons."""
    start = 0
    for part in torch.split(m, max(1, ELEMENTS // (2 * max(1, len(m)))), dim=1):
        yield FeatureChunk(start, torch.stack([part.relu(), (-part).relu()], dim=2).flatten(1))
        start += 2 * part.shape[1]


def _coactivations(
    units: Sequence[UnitKey],
    activations: Tensor,
    also: Sequence[Sequence[UnitKey]],
    chunks: Iterator[FeatureChunk],
    n: int,
) -> list[dict[UnitKey, float]]:
    """The co-activation of each unit with the `n` units of its kind with which it is largest, and with those in `also`.

    `activations` (units, N) are the units', `chunks` those of all units of the kind at the same tokens.
    """
    kind, device = units[0].kind, activations.device
    own = normalize(activations, dim=1)
    known = torch.nn.utils.rnn.pad_sequence(
        [candidate_numbers(others) for others in also], batch_first=True, padding_value=-1
    ).to(device)
    of_known = torch.zeros(known.shape, device=device)
    largest = LargestCosines(candidate_numbers(units).to(device), n)
    for chunk in chunks:
        values = own @ normalize(chunk.f.to(own), dim=0)
        place = (known - chunk.start).clamp(0, values.shape[1] - 1)
        of_known = torch.where((known >= chunk.start) & (known < chunk.stop), values.gather(1, place), of_known)
        largest.add(chunk.start, values)
    return [
        dict(zip(others, row, strict=False)) | {unit_of(kind, number): value for number, value in top.items()}
        for others, row, top in zip(also, of_known.tolist(), largest.by_number(), strict=True)
    ]
