"""Places at which one of a unit's nearest neighbours is strongly active and the unit itself is silent.

The neighbours are those of the whole dictionary, or of the whole layer. The harvest keeps neither their activations nor a unit's own
elsewhere than in its windows, so a bounded number of tokens of the judging side is read again, once for all units: the first quarter
of them to find the neighbours, the others to find the places. No exemplar takes part, so the places serve every choice of exemplars.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sae.analysis.context_search import contexts_of_split
from sae.analysis.explainer_windows import Candidate, WindowSettings, cut_candidate, read_in_parts
from sae.analysis.neighbours import Neighbour, nearest_units
from sae.analysis.unit_probe import ContextActivations
from sae.corpus.corpus import Corpus
from sae.dictionary import Dictionary
from sae.harvest.harvest import UnitReader
from sae.harvest.token_positions import JUDGE
from sae.harvest.units import UnitKey
from sae.subject.model import Subject

FARTHEST = 40
"""Neighbours of each unit whose places are found, the nearest of them first."""
STRONG = 0.5
"""Share of its largest activation in the tokens read from which a neighbour is strongly active."""
KEPT = 8
"""Places of each neighbour among which windows are chosen, its strongest ones."""
TOKENS = 65_536
"""Largest number of tokens that are read, for all units together."""
COMPARED = 1 / 4
"""Share of these tokens over which co-activation is measured."""
_VALUES = 1 << 27
"""Largest number of activations that are kept while reading: half a gigabyte."""

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class NeighbourPlaces:
    """The neighbours of all units that are active in the tokens read, by unit, nearest first, and their strong places, strongest first.

    Of each of the N neighbours `unit` (N,) is the number of the unit that it is near to, and `count` (N,) its number of places. A place
    is a token: `row` (P,) is the number of its context in `Corpus.contexts`, `mark` (P,) its index there, `start` (P,) that of its
    window's first token. `activations`, float32 (P, window), are the unit's in the window, and `counted` (P, window) its tokens that
    count; of a context shorter than the window, the last values are without meaning.
    """

    neighbours: Sequence[Neighbour]
    unit: Numbers
    count: Numbers
    row: Numbers
    mark: Numbers
    start: Numbers
    activations: npt.NDArray[np.float32]
    counted: npt.NDArray[np.bool_]

    def of(self, unit: int) -> list[tuple[Neighbour, range]]:
        """The neighbours of a unit, each with the numbers of its places."""
        ends = np.cumsum(self.count)
        return [
            (self.neighbours[n], range(int(ends[n] - self.count[n]), int(ends[n])))
            for n in np.flatnonzero(self.unit == unit).tolist()
        ]

    def candidate(self, corpus: Corpus, place: int) -> Candidate:
        """A place with its window."""
        row, mark, start = int(self.row[place]), int(self.mark[place]), int(self.start[place])
        offset, length = int(corpus.contexts["offset"][row]), int(corpus.contexts["length"][row])
        size = min(self.activations.shape[1], length)
        ids = np.asarray(corpus.tokens[offset + start : offset + start + size])
        return Candidate((), row, mark, start, ids, self.activations[place, :size], self.counted[place, :size])


def find_places(
    subject: Subject, dictionary: Dictionary, corpus: Corpus, units: Sequence[UnitKey], settings: WindowSettings
) -> NeighbourPlaces:
    """The neighbours of each unit, at most `FARTHEST`, and their places, at most `KEPT` of each and one in a context."""
    compared, searched = _contexts(corpus, len(units), settings.seed)
    near: list[list[Neighbour]] = [[] for _ in units]
    if len(compared):
        near = nearest_units(UnitReader(subject, dictionary, units), corpus, compared, FARTHEST, settings)
    to_read = list(dict.fromkeys([*units, *(neighbour.unit for of_unit in near for neighbour in of_unit)]))
    number = {unit: i for i, unit in enumerate(to_read)}
    places = _Places([[number[neighbour.unit] for neighbour in of_unit] for of_unit in near], len(to_read))
    for row, context in read_in_parts(UnitReader(subject, dictionary, to_read), corpus, searched.tolist(), settings):
        places.add(row, context)
    return places.found(near, settings)


def save(path: Path, places: NeighbourPlaces) -> None:
    """Write places to a file."""
    units = [neighbour.unit for neighbour in places.neighbours]
    with path.open("wb") as out:
        np.savez_compressed(
            out,
            kind=np.array([unit.kind for unit in units], dtype=np.str_),
            index=np.array([unit.index for unit in units], dtype=np.int64),
            sign=np.array([unit.sign for unit in units], dtype=np.str_),
            cosines=np.array([[near.cosine, near.coactivation] for near in places.neighbours]).reshape(-1, 2),
            **{name: getattr(places, name) for name in _ARRAYS},
        )


_ARRAYS = ("unit", "count", "row", "mark", "start", "activations", "counted")


def load(path: Path) -> NeighbourPlaces:
    """Places that `save` has written."""
    with np.load(path, allow_pickle=False) as saved:
        arrays = {name: saved[name] for name in saved}
    units = zip(arrays["kind"].tolist(), arrays["index"].tolist(), arrays["sign"].tolist(), strict=True)
    neighbours = [Neighbour(UnitKey(*u), *c) for u, c in zip(units, arrays["cosines"].tolist(), strict=True)]
    return NeighbourPlaces(neighbours, **{name: arrays[name] for name in _ARRAYS})


def _contexts(corpus: Corpus, n_units: int, seed: int) -> tuple[Numbers, Numbers]:
    """The contexts of the judging side over which co-activation is measured, and those that are searched for windows."""
    rows = contexts_of_split(corpus, JUDGE, seed)
    rows = rows[corpus.contexts["length"][rows] > 0]
    tokens = np.cumsum(corpus.contexts["length"][rows].astype(np.int64))
    most = min(TOKENS, _VALUES // n_units) if n_units else 0
    rows = rows[: np.searchsorted(tokens, most, side="right")]
    if not len(rows):
        return rows, rows
    first = max(1, int(np.searchsorted(tokens, COMPARED * tokens[len(rows) - 1], side="right")))
    return rows[:first], rows[first:]


class _Places:
    """The strongest places of each unit's neighbours at which the unit is silent, at most one in a context."""

    def __init__(self, near: Sequence[Sequence[int]], n_read: int) -> None:
        """`near` holds for each unit the numbers of its neighbours, at most `FARTHEST`, among all `n_read` units that are read."""
        self._near = [np.array(numbers, dtype=np.int64) for numbers in near]
        self._largest = np.zeros(n_read, dtype=np.float32)
        shape = (len(near), FARTHEST, KEPT)
        self._strength = np.zeros(shape, dtype=np.float32)
        self._row, self._mark = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        self._contexts: dict[int, ContextActivations] = {}
        """The contexts read, with the activations of the units alone."""

    def add(self, row: int, context: ContextActivations) -> None:
        """Add a context with the activations of all units that are read."""
        n = len(self._near)
        self._largest = np.maximum(self._largest, context.activations.max(axis=1))
        silent = context.activations[:n] == 0
        peak, mark = np.zeros((n, FARTHEST), dtype=np.float32), np.zeros((n, FARTHEST), dtype=np.int64)
        for unit, near in enumerate(self._near):
            there = context.activations[near] * silent[unit]
            mark[unit, : len(near)] = there.argmax(axis=1)
            peak[unit, : len(near)] = there.max(axis=1)
        weakest = self._strength.argmin(axis=2)[..., None]
        stronger = peak[..., None] > np.take_along_axis(self._strength, weakest, 2)
        for kept, new in ((self._strength, peak), (self._mark, mark), (self._row, np.full_like(mark, row))):
            changed = np.where(stronger, new[..., None], np.take_along_axis(kept, weakest, 2))
            np.put_along_axis(kept, weakest, changed, 2)
        self._contexts[row] = replace(context, activations=context.activations[:n].copy())

    def found(self, near: Sequence[Sequence[Neighbour]], settings: WindowSettings) -> NeighbourPlaces:
        """All places that are strong, with their windows. `near` are the neighbours of each unit, in the order of their numbers."""
        neighbours: list[tuple[int, Neighbour, int]] = []
        candidates: list[Candidate] = []
        for unit, of_unit in enumerate(near):
            for k, (neighbour, number) in enumerate(zip(of_unit, self._near[unit].tolist(), strict=True)):
                strength, bound = self._strength[unit, k], STRONG * self._largest[number]
                if bound > 0:
                    order = [i for i in np.argsort(-strength, kind="stable").tolist() if strength[i] >= bound]
                    neighbours.append((unit, neighbour, len(order)))
                    candidates += [self._candidate(unit, k, i, settings) for i in order]
        activations = np.zeros((len(candidates), settings.window), dtype=np.float32)
        counted = np.zeros((len(candidates), settings.window), dtype=np.bool_)
        for place, candidate in enumerate(candidates):
            activations[place, : len(candidate.ids)] = candidate.activations
            counted[place, : len(candidate.ids)] = candidate.counted
        of_candidates = [[c.row, c.mark, c.start] for c in candidates]
        row, mark, start = np.array(of_candidates, dtype=np.int64).reshape(-1, 3).T
        near_to, count = np.array([[u, n] for u, _, n in neighbours], dtype=np.int64).reshape(-1, 2).T
        return NeighbourPlaces(
            [one for _, one, _ in neighbours], near_to, count, row, mark, start, activations, counted
        )

    def _candidate(self, unit: int, k: int, i: int, settings: WindowSettings) -> Candidate:
        row, mark = int(self._row[unit, k, i]), int(self._mark[unit, k, i])
        context = self._contexts[row]
        return cut_candidate(context, context.activations[unit], row, mark, settings)
