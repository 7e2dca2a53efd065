"""The active features of a text in the terms of an index: which are shown, and their names and shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autointerp.explorer.search.columns import Columns
from autointerp.explorer.search.query import Firing
from autointerp.explorer.search.reader import Reader

LISTED = 40
"""Units that are shown in each order."""
AT_TOKEN = 5
"""Units that are shown of a token."""
FREQUENT = 0.1
"""Density above which a unit counts as always on, and colours no text unless it is chosen."""


class Events:
    """Activations of a text: `row`, `place` and `value` (n,) of each, and `share`, that of the unit's maximum; 1 without a known one."""

    def __init__(self, columns: Columns, active: Sequence[tuple[Sequence[int], Sequence[float]]]) -> None:
        sizes = [len(rows) for rows, _ in active]
        self.place = np.repeat(np.arange(len(active)), sizes)
        self.row = np.array([row for rows, _ in active for row in rows], dtype=np.int64)
        self.value = np.array([value for _, values in active for value in values], dtype=np.float64)
        maximum = columns.numbers["maximum"][self.row]
        self.share = np.divide(self.value, maximum, out=np.ones_like(self.value), where=maximum > 0)

    def largest(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The different rows, ascending, and the largest share of each."""
        rows, place = np.unique(self.row, return_inverse=True)
        largest = np.zeros(len(rows))
        np.maximum.at(largest, place, self.share)
        return rows, largest


def shown(index: Reader, read: Mapping[str, Any], chosen: Sequence[str]) -> dict[str, Any]:
    """What the page shows of a text: its tokens, the `top` rows of each, and `units`, each with its largest `share`, its `sum` of shares,
    and its activations `at` places.

    Units are the first `LISTED` in each order, those of tokens, and the chosen ones whether or not they are active.
    """
    columns = index.columns
    events = Events(columns, read["active"])
    rows, largest = events.largest()
    total = np.zeros(len(rows))
    np.add.at(total, np.searchsorted(rows, events.row), events.share)
    orders = (-largest, -total, columns.numbers["density"][rows])
    listed = [rows[np.argsort(order, kind="stable")[:LISTED]] for order in orders]
    by_share = np.lexsort((-events.share, events.place))
    cuts = np.searchsorted(events.place[by_share], np.arange(len(read["tokens"]) + 1))
    top = [events.row[by_share[first:last][:AT_TOKEN]] for first, last in pairwise(cuts)]
    named = [row for unit in chosen if (row := columns.row_of(unit)) is not None]
    kept = np.unique(np.concatenate([*listed, *top, np.array(named, dtype=np.int64)]).astype(np.int64))
    others = {columns.row_of(unit): values for unit, values in read["units"].items()}
    units = []
    for row in kept.tolist():
        here = events.row == row
        places, values, shares = events.place[here].tolist(), events.value[here].tolist(), events.share[here]
        if row in others:
            places, values, shares = _of_neuron(others[row], columns.numbers["maximum"][row])
        units.append(
            {
                **index.name(row),
                "density": float(columns.numbers["density"][row]),
                "maximum": float(columns.numbers["maximum"][row]),
                "frequent": bool(columns.numbers["density"][row] > FREQUENT),
                "share": float(np.max(shares, initial=0.0)),
                "sum": float(np.sum(shares)),
                "at": [places, values],
            }
        )
    return {
        "tokens": read["tokens"],
        "counted": read["counted"],
        "n_cut": read["n_cut"],
        "n_active": len(rows),
        "top": [each.tolist() for each in top],
        "units": units,
    }


def _of_neuron(values: Sequence[float], maximum: float) -> tuple[list[int], list[float], NDArray[np.float64]]:
    active = [(place, value) for place, value in enumerate(values) if value > 0]
    shares = np.array([value / maximum if maximum > 0 else 1.0 for _, value in active])
    return [place for place, _ in active], [value for _, value in active], shares


def firing(index: Reader, on: Mapping[str, Any], without: Mapping[str, Any] | None) -> Firing:
    """The features that fire on one text and not on another, by the readings of both."""
    rows, shares = Events(index.columns, on["active"]).largest()
    if without is not None:
        kept = ~np.isin(rows, Events(index.columns, without["active"]).row)
        rows, shares = rows[kept], shares[kept]
    return Firing(rows, shares.astype(np.float32))
