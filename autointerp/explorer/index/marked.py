"""The tokens at which units are strongest, read off their examples: the column `marked`, which a search needs for all units at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from autointerp.explorer.index import schema
from autointerp.explorer.index.folder import UNITS, IndexFolder

MARKED = "marked"
NEEDED = ("row", "bin", "mark", "tokens")
"""The columns of examples from which it is made."""


def of_examples(examples: pa.Table, first: int, end: int) -> pa.Array:
    """A list of tokens for each of the rows from `first` up to `end`, from a table with all their examples in the order of `row`."""
    strongest = examples.filter(pc.equal(examples["bin"], 0)).combine_chunks()
    lists = strongest["tokens"].combine_chunks()
    places = pc.add(lists.offsets.slice(0, len(lists)), strongest["mark"].combine_chunks())
    tokens = pa.table({"row": strongest["row"], "token": lists.values.take(places), "at": np.arange(len(lists))})
    counted = tokens.group_by(["row", "token"]).aggregate([("at", "count"), ("at", "min")])
    # Of equally frequent tokens the one with the strongest example comes first.
    order = np.lexsort((counted["at_min"].to_numpy(), -counted["at_count"].to_numpy(), counted["row"].to_numpy()))
    row = counted["row"].to_numpy()[order]
    kept = np.arange(len(row)) - np.searchsorted(row, row) < schema.TOKENS
    lengths = np.bincount(row[kept] - first, minlength=end - first)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, counted["token"].combine_chunks().take(order[kept]))


def of_index(folder: IndexFolder) -> Iterator[pa.Array]:
    """The lists of all rows of a finished index in their order, in parts. It reads all examples, 10 s for 100,000 units."""
    at = 0
    for first, n_rows, number in folder.about.groups:
        yield _none(first - at)
        at = first + n_rows
        yield of_examples(folder.group(number, NEEDED), first, at)
    yield _none(folder.about.n_features + folder.about.n_neurons - at)


def add(folder: IndexFolder) -> None:
    """Add the column to a finished index that an earlier version wrote. Raises `PlaceFailed`."""
    lists = pa.chunked_array(of_index(folder), pa.list_(pa.string()))
    with pq.ParquetFile(folder.path / UNITS) as units, folder.writer(UNITS) as writer:
        for number in range(units.num_row_groups):
            rows = units.read_row_group(number)
            own = lists.slice(number * schema.UNIT_ROWS, len(rows))
            writer.write_table(rows.append_column(MARKED, own).select(schema.UNITS.names).cast(schema.UNITS))


def _none(rows: int) -> pa.Array:
    return pa.ListArray.from_arrays(np.zeros(rows + 1, dtype=np.int32), pa.array([], pa.string()))
