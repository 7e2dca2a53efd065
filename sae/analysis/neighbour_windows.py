"""Windows in which one of a unit's nearest neighbours is strongly active, and the unit itself is silent at the mark.

The windows are among those that the harvest keeps: each unit's strongest judged ones. The harvest does not keep what all other units do
there, so the contexts of these windows, and no others, are read again, for all units together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from sae.analysis.context_search import context_of
from sae.analysis.explainer_windows import WindowSettings, read_in_parts
from sae.corpus.corpus import Corpus
from sae.harvest.columns import COUNTED, EXEMPLAR_COLUMNS
from sae.harvest.exemplars import move_to_whole_characters
from sae.harvest.harvest import UnitReader

NEAREST = 10
"""Neighbours of each unit."""
STRONGEST = 3
"""Judged windows of each unit that may be shown for its neighbours."""
TOKENS = 131_072
"""Largest number of tokens that are read again, for all units together. If the units have more, units that come later in the sample are
neighbours of none."""
NEIGHBOUR = "neighbour"
"""Role of the windows."""
Numbers = npt.NDArray[np.int64]


class NeighbourWindows(NamedTuple):
    """For each of the reader's units the numbers of its nearest units, nearest first, and a table of windows like a harvest's exemplars.

    `active_unit`, a column more than exemplars have, is the neighbour that is active at the mark.
    """

    nearest: list[list[int]]
    windows: pd.DataFrame


class _Marks(NamedTuple):
    """The windows (w,) whose marked tokens were read."""

    table: pd.DataFrame
    owner: Numbers
    """Number of the unit that is active at the mark."""
    row: Numbers
    """Row of the context in `Corpus.contexts`."""
    column: Numbers
    """Index of the marked token in the context."""


def neighbour_windows(
    reader: UnitReader,
    corpus: Corpus,
    exemplars: pd.DataFrame,
    by_direction: Sequence[Sequence[int]],
    most: int,
    settings: WindowSettings,
) -> NeighbourWindows:
    """The nearest units of each of the reader's units among themselves, and at most `most` windows of each.

    Neurons are near by co-activation: the cosine of their activations at the marked tokens that are read. Features are near by direction
    and by that in turn. Units that lack ten by these are given others of their kind, drawn by the seed. `by_direction` holds for each unit the numbers of others by falling cosine of their directions. `exemplars` are
    the harvest's. A window that overlaps one of the unit's own exemplars is left out.
    """
    marks = _marks(reader, corpus, exemplars)
    at_marks = _activations_at(reader, corpus, marks, settings)
    nearest = _nearest(reader, at_marks, np.unique(marks.owner), by_direction, settings.seed)
    own = {str(name): rows for name, rows in exemplars.groupby("unit_id")}
    chosen = [
        (unit, window)
        for unit, key in enumerate(reader.units)
        for window in _choose(marks, at_marks[unit], nearest[unit], own.get(key.unit_id), most, settings.window)
    ]
    return NeighbourWindows(nearest, _table(reader, corpus, marks, chosen, settings))


def _marks(reader: UnitReader, corpus: Corpus, exemplars: pd.DataFrame) -> _Marks:
    """The strongest judged windows of the reader's units, the strongest of every unit first, of at most `TOKENS` tokens together."""
    number = {unit.unit_id: i for i, unit in enumerate(reader.units)}
    rows = exemplars.loc[(exemplars["role"] == "score") & exemplars["unit_id"].isin(number)]
    # A mark that was moved to the end of a character does not say where its window begins.
    clear = [not mark or bool(tokens[mark - 1]) for mark, tokens in zip(rows["mark"], rows["tokens"], strict=True)]
    rows = rows.loc[np.array(clear, dtype=bool)].sort_values(["activation", "exemplar_id"], ascending=[False, True])
    rows = rows.assign(turn_=rows.groupby("unit_id").cumcount(), owner_=rows["unit_id"].map(number))
    rows = rows.loc[rows["turn_"] < STRONGEST].sort_values(["turn_", "owner_"], ignore_index=True)
    context, _ = context_of(corpus, rows)
    first = np.zeros(len(rows), dtype=bool)
    first[np.unique(context, return_index=True)[1]] = True
    read = np.cumsum(np.where(first, corpus.contexts["length"][context], 0)) <= TOKENS
    column = rows["position"].to_numpy(np.int64) - corpus.contexts["position"][context].astype(np.int64)
    table = rows.loc[read, [name for name in EXEMPLAR_COLUMNS if name in rows]].reset_index(drop=True)
    return _Marks(table, rows["owner_"].to_numpy(np.int64)[read], context[read], column[read])


def _activations_at(
    reader: UnitReader, corpus: Corpus, marks: _Marks, settings: WindowSettings
) -> npt.NDArray[np.float32]:
    """The activation of every unit at every marked token, (units, w)."""
    found = np.zeros((len(reader.units), len(marks.row)), dtype=np.float32)
    for row, context in read_in_parts(reader, corpus, np.unique(marks.row).tolist(), settings):
        here = np.flatnonzero(marks.row == row)
        found[:, here] = context.activations[:, marks.column[here]]
    return found


def _nearest(
    reader: UnitReader,
    at_marks: npt.NDArray[np.float32],
    owners: Numbers,
    by_direction: Sequence[Sequence[int]],
    seed: int,
) -> list[list[int]]:
    """For each unit the `NEAREST` other owners of its kind, nearest first."""
    kinds = np.array([unit.kind for unit in reader.units])
    length = np.linalg.norm(at_marks, axis=1, keepdims=True)
    rows = at_marks / np.where(length > 0, length, 1)
    nearest = []
    for unit, row in enumerate(rows):
        others = owners[(kinds[owners] == kinds[unit]) & (owners != unit)]
        cosine = rows[others] @ row
        order = np.argsort(-cosine, kind="stable")[:NEAREST]
        together = others[order[cosine[order] > 0]].tolist()
        is_owner = set(others.tolist())
        alike = [other for other in by_direction[unit] if other in is_owner]
        drawn = np.random.default_rng([seed, 13, unit]).permutation(others)[:NEAREST].tolist()
        near = [together] if kinds[unit] == "neuron" else [alike, together]
        nearest.append(list(dict.fromkeys([*_in_turn(near)[:NEAREST], *drawn]))[:NEAREST])
    return nearest


def _in_turn(lists: Sequence[Sequence[int]]) -> list[int]:
    """The first of each list, then the second of each, and so on, each number once."""
    longest = max(map(len, lists), default=0)
    return list(dict.fromkeys(one[turn] for turn in range(longest) for one in lists if turn < len(one)))


def _choose(
    marks: _Marks,
    activations: npt.NDArray[np.float32],
    nearest: Sequence[int],
    own: pd.DataFrame | None,
    most: int,
    window: int,
) -> list[int]:
    """Numbers of a unit's windows: of each neighbour in turn the strongest one in which the unit is silent at the mark.

    None overlaps another or one of the unit's own exemplars.
    """
    if own is None:
        return []
    documents = marks.table["document"].to_numpy(np.int64)
    positions = marks.table["position"].to_numpy(np.int64)
    taken = [(int(d), int(p)) for d, p in zip(own["document"], own["position"], strict=True)]
    chosen: list[int] = []
    silent = [np.flatnonzero((marks.owner == other) & (activations == 0)).tolist() for other in nearest]
    for number in _in_turn(silent):
        at = int(documents[number]), int(positions[number])
        if len(chosen) < most and not any(d == at[0] and abs(p - at[1]) < window for d, p in taken):
            chosen.append(number)
            taken.append(at)
    return chosen


def _table(
    reader: UnitReader, corpus: Corpus, marks: _Marks, chosen: Sequence[tuple[int, int]], settings: WindowSettings
) -> pd.DataFrame:
    """The chosen (unit, window) pairs as exemplars of the unit, with its own activations."""
    by_row: dict[int, list[int]] = {}
    for place, (_, window) in enumerate(chosen):
        by_row.setdefault(int(marks.row[window]), []).append(place)
    rows: dict[int, dict[str, Any]] = {}
    for row, context in read_in_parts(reader, corpus, list(by_row), settings):
        for place in by_row[row]:
            unit, window = chosen[place]
            values = _exemplar(reader.units[unit].unit_id, marks, window, context.activations[unit])
            if values is not None:
                rows[place] = values
    found = [rows[place] for place in sorted(rows)]
    names = [name for name in EXEMPLAR_COLUMNS if name != COUNTED or name in marks.table]
    return pd.DataFrame(found, columns=[*names, "active_unit"])


def _exemplar(unit_id: str, marks: _Marks, window: int, activations: npt.NDArray[np.float32]) -> dict[str, Any] | None:
    """A neighbour's window as an exemplar of the unit; None if the unit is active at the mark's character."""
    values: dict[str, Any] = dict(marks.table.iloc[window])
    mark, tokens = int(values["mark"]), list(values["tokens"])
    first = int(marks.column[window]) - mark
    own = activations[first : first + len(tokens)].astype(np.float64) + 0.0  # turns -0 into 0
    move_to_whole_characters(tokens, own, np.ones(len(tokens), dtype=bool), mark)
    if own[mark]:
        return None
    return values | {
        "exemplar_id": f"{unit_id}@{values['document']}.{values['position']}",
        "unit_id": unit_id,
        "role": NEIGHBOUR,
        "activation": 0.0,
        "activation_fraction": 0.0,
        "bin": 0,
        "inclusion_probability": None,
        "token_activations": own.tolist(),
        "active_unit": values["unit_id"],
    }
