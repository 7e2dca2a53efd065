"""The columns of an index that a search reads, in memory: about 90 bytes for each unit."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from autointerp.explorer.index.folder import LABELS, UNITS, IndexFolder
from autointerp.explorer.index.schema import PROPAGATED as PROPAGATED

KINDS = ("feature", "neuron")
HARVESTED = ("row", "number", "density", "events", "maximum", "mean")
KNOWN = ("grade", "distinction", "probability")
"""Columns of `labels.parquet`; a unit without a label has no value."""
NUMBERS = HARVESTED + KNOWN
"""Columns that can be filtered and sorted."""
_ORDERS = 2 * len(NUMBERS)


class Columns:
    """One array for each of `NUMBERS` (n_units,), with NaN for no value; `kind` as the place in `KINDS`; and the labels.

    `labels` is the table of all labels, and `label` the row of each unit's leading one in it, or -1: a label that was asked for comes before one
    that was propagated, and the first of several before the others.
    """

    def __init__(self, folder: IndexFolder) -> None:
        units = folder.table(UNITS, ["unit_id", "kind", *HARVESTED])
        self.unit_ids: pa.Array = units["unit_id"].combine_chunks()
        self.kind: NDArray[np.int8] = pc.equal(units["kind"], KINDS[1]).to_numpy().astype(np.int8)
        self.numbers: dict[str, NDArray[np.float64 | np.float32]] = {name: _floats(units[name]) for name in HARVESTED}
        self.labels = folder.table(LABELS)
        self.label = _leading(self.labels, len(units))
        self.explained = self.label >= 0
        self.explained_rows = np.flatnonzero(self.explained)
        for name in KNOWN:
            values = np.append(_floats(self.labels[name]), np.float32("nan"))
            self.numbers[name] = values[self.label]
        self.order = lru_cache(maxsize=_ORDERS)(self._order)

    def __len__(self) -> int:
        return len(self.unit_ids)

    def row_of(self, unit_id: str) -> int | None:
        """The row of a unit, or None if the index has none of that id."""
        row = pc.index(self.unit_ids, unit_id).as_py()
        return None if row < 0 else int(row)

    def explanation(self, row: int) -> str | None:
        """A unit's leading explanation."""
        place = int(self.label[row])
        return None if place < 0 else str(self.labels["explanation"][place].as_py())

    def labels_of(self, row: int) -> list[dict[str, object]]:
        """All labels of a unit, the leading one first."""
        if self.label[row] < 0:
            return []
        places = np.flatnonzero(self.labels["row"].to_numpy() == row)
        leading = int(self.label[row])
        ordered = [leading, *(int(place) for place in places if place != leading)]
        found: list[dict[str, object]] = self.labels.take(ordered).to_pylist()
        return found

    def _order(self, name: str, descending: bool) -> NDArray[np.int64]:
        """The rows by a column. Units without a value come last, and equal ones in the order of their rows."""
        values = -self.numbers[name] if descending else self.numbers[name]
        if values.dtype == np.float32:
            return ascending(values.astype(np.float32, copy=False), np.arange(len(self)))
        return np.argsort(values, kind="stable")


def ascending(values: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ascending `rows` by their values, NaN last and equal values in the order of the rows.

    Twice as fast as a stable sort of the values: each value and its row are one whole number. The bits of a positive number are in the order
    of the numbers, and those of a negative one in the order of their magnitudes.
    """
    finite = np.where(np.isnan(values), np.float32("inf"), values + np.float32(0))  # -0 + 0 is 0
    bits = finite.view(np.int32)
    keys = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int64) << 32 | rows
    keys.sort()
    return keys & 0xFFFFFFFF


def _floats(column: pa.ChunkedArray) -> NDArray[np.float32 | np.float64]:
    """A column as numbers, with NaN for null. Whole numbers are kept exactly."""
    exact = pa.types.is_integer(column.type)
    values: NDArray[np.float32 | np.float64] = pc.cast(column, pa.float64() if exact else pa.float32()).to_numpy()
    return values


def _leading(labels: pa.Table, n_units: int) -> NDArray[np.int64]:
    """For each unit the place of its leading label, or -1."""
    leading = np.full(n_units, -1, dtype=np.int64)
    rows = labels["row"].to_numpy()
    propagated = pc.equal(labels["source"], PROPAGATED).to_numpy().astype(bool)
    for places in (np.flatnonzero(propagated)[::-1], np.flatnonzero(~propagated)[::-1]):
        leading[rows[places]] = places  # of several assignments the last counts: the first place of a unit
    return leading
