"""The rows of an index as Arrow tables."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from autointerp.explorer.index import schema
from sae.explorer.examples import Examples
from sae.explorer.statistics import Statistics
from sae.explorer.together import Ranked
from sae.explorer.written_tokens import TokenEffect
from sae.harvest.units import UnitKey


def example_groups(examples: Examples, strings: Sequence[str], first_row: int) -> Iterator[pa.Table]:
    """The rows of `examples.parquet`, in a table for each `EXAMPLE_UNITS` units. `first_row` is the row of the pass's first unit."""
    offsets = np.concatenate([[0], np.cumsum(examples.length)]).astype(np.int32)
    texts = pa.DictionaryArray.from_arrays(pa.array(examples.strings), pa.array(strings, pa.string()))
    columns: dict[str, Any] = {
        "row": examples.unit + first_row,
        "bin": examples.bin,
        "rank": examples.rank,
        "activation": examples.activation,
        "document": examples.document,
        "position": examples.position,
        "mark": examples.mark,
        "tokens": pa.ListArray.from_arrays(offsets, texts.dictionary_decode()),
        "activations": pa.ListArray.from_arrays(offsets, pa.array(examples.activations)),
    }
    table = pa.table(columns).cast(schema.EXAMPLES)
    cuts = np.append(np.arange(examples.first, examples.end, schema.EXAMPLE_UNITS), examples.end)
    edges = np.searchsorted(examples.unit, cuts).tolist()
    for low, high in itertools.pairwise(edges):
        yield table.slice(low, high - low)


def unit_rows(
    first: int,
    units: Sequence[UnitKey],
    statistics: Statistics,
    promoted: Sequence[Sequence[TokenEffect]],
    suppressed: Sequence[Sequence[TokenEffect]],
    nearest: Ranked,
    together: Ranked,
    neurons: Ranked,
    marked: pa.Array,
) -> pa.Table:
    """Rows of `units.parquet` from row `first` on. The lists are of features, which come first; neurons have none but their tokens."""
    n, parts = len(units), statistics.histogram.shape[1]
    columns: dict[str, Any] = {
        "row": np.arange(first, first + n),
        "unit_id": [unit.unit_id for unit in units],
        "kind": [unit.kind for unit in units],
        "number": [unit.index for unit in units],
        "density": statistics.density,
        "events": statistics.events,
        "maximum": statistics.maximum,
        "mean": statistics.mean,
        "histogram": pa.ListArray.from_arrays(np.arange(0, (n + 1) * parts, parts), statistics.histogram.ravel()),
        "promoted": _effects(promoted),
        "suppressed": _effects(suppressed),
        "nearest": _ranked(nearest, n, "row", "cosine"),
        "together": _ranked(together, n, "row", "share"),
        "neurons": _ranked(neurons, n, "unit_id", "correlation"),
        "marked": marked,
    }
    arrays = [pa.array(columns[name]) for name in schema.UNITS.names]
    table = pa.Table.from_arrays(arrays, names=schema.UNITS.names)
    return table.cast(schema.UNITS)


def _effects(lists: Sequence[Sequence[TokenEffect]]) -> pa.Array:
    offsets = np.cumsum([0, *map(len, lists)]).astype(np.int32)
    flat = [effect for effects in lists for effect in effects]
    tokens, effects = pa.array([e.token for e in flat], pa.string()), pa.array([e.effect for e in flat], pa.float32())
    return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays([tokens, effects], ["token", "effect"]))


def _ranked(ranked: Ranked, rows: int, name: str, value: str) -> pa.Array:
    """Lists of the first units; those of the others, up to `rows`, are empty."""
    known = ranked.number >= 0
    counts = np.zeros(rows, dtype=np.int64)
    counts[: len(known)] = known.sum(axis=1)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    numbers, values = ranked.number[known], ranked.value[known]
    if name == "unit_id":
        signs = np.where(values < 0, "-", "+").tolist()
        keys = pa.array([f"neuron-{i}{s}" for i, s in zip(numbers.tolist(), signs, strict=True)], pa.string())
        values = np.abs(values)
    else:
        keys = pa.array(numbers.astype(np.int32))
    return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays([keys, pa.array(values)], [name, value]))
