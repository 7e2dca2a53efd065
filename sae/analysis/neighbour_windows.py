"""Windows in which one of a unit's nearest neighbours is strongly active, and the unit itself is silent at the mark.

The neighbours are those of the whole dictionary, or of the whole layer. The harvest keeps neither their activations nor a unit's own
elsewhere than in its windows, so a bounded number of tokens of the judging side is read again, once for all units: the first quarter
of them to find the neighbours, the others to find the windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from sae.analysis.context_search import context_of, contexts_of_split
from sae.analysis.explainer_windows import (
    NEIGHBOUR,
    WindowSettings,
    cut_candidate,
    exemplar_row,
    in_turn,
    is_consistent,
    read_in_parts,
)
from sae.analysis.neighbours import Neighbour, nearest_units
from sae.analysis.unit_probe import ContextActivations
from sae.corpus.corpus import Corpus
from sae.dictionary import Dictionary
from sae.harvest.columns import EXEMPLAR_COLUMNS
from sae.harvest.exemplars import TokenTexts
from sae.harvest.harvest import UnitReader
from sae.harvest.shown_texts import CorpusText, ShownTexts
from sae.harvest.token_positions import JUDGE
from sae.harvest.units import UnitKey
from sae.subject.model import Subject

NEAREST = 10
"""Neighbours of each unit."""
FARTHEST = 40
"""Units that may take the places of neighbours that have too few windows, the nearest of them first."""
STRONG = 0.5
"""Share of its largest activation in the tokens read from which a neighbour is strongly active."""
KEPT = 8
"""Places of each neighbour among which windows are chosen, its strongest ones."""
TOKENS = 65_536
"""Largest number of tokens that are read, for all units together."""
COMPARED = 1 / 4
"""Share of these tokens over which co-activation is measured."""
_VALUES = 1 << 27
"""Largest number of activations that are kept: half a gigabyte."""

Numbers = npt.NDArray[np.int64]


class _Place(NamedTuple):
    """A token: the row of its context in `Corpus.contexts`, and its index there."""

    row: int
    mark: int


class NeighbourWindows(NamedTuple):
    """For each unit its nearest neighbours, nearest first, and a table of windows like a harvest's exemplars.

    `active_unit`, a column more than exemplars have, is the neighbour that is active at the mark.
    """

    nearest: list[list[Neighbour]]
    windows: pd.DataFrame


def neighbour_windows(
    subject: Subject,
    dictionary: Dictionary,
    corpus: Corpus,
    texts: TokenTexts,
    units: Sequence[UnitKey],
    exemplars: pd.DataFrame,
    most: int,
    settings: WindowSettings,
) -> NeighbourWindows:
    """The nearest neighbours of each unit, and at most `most` windows of them that tell the unit apart.

    The neighbours are the `NEAREST` ones that are active in the tokens read. If they have too few windows, units farther away follow,
    as far as their windows are needed. `exemplars` are the harvest's: a window overlaps none of the unit's own and repeats the text of
    none, and comes from another document if there are enough.
    """
    compared, searched = _contexts(corpus, len(units), settings.seed)
    near: list[list[Neighbour]] = [[] for _ in units]
    if len(compared):
        near = nearest_units(UnitReader(subject, dictionary, units), corpus, compared, FARTHEST, settings)
    to_read = list(dict.fromkeys([*units, *(neighbour.unit for of_unit in near for neighbour in of_unit)]))
    number = {unit: i for i, unit in enumerate(to_read)}
    places = _Places([[number[neighbour.unit] for neighbour in of_unit] for of_unit in near], len(to_read))
    for row, context in read_in_parts(UnitReader(subject, dictionary, to_read), corpus, searched.tolist(), settings):
        places.add(row, context)
    rows, marks = context_of(corpus, exemplars)
    exemplars = exemplars.assign(ordinal_=corpus.contexts["offset"][rows] + marks)
    own = {str(unit_id): of_unit for unit_id, of_unit in exemplars.groupby("unit_id")}
    source, nearest, windows = _Source(corpus, texts, CorpusText(corpus), settings), [], list[dict[str, Any]]()
    for i, unit in enumerate(units):
        alive = places.of(i, near[i])
        found = source.windows(unit, i, alive, places.contexts, own.get(unit.unit_id, exemplars.iloc[:0]))
        chosen = list(islice(found, most))
        active = {window["active_unit"] for window in chosen}
        nearest.append([one for k, (one, _) in enumerate(alive) if k < NEAREST or one.unit.unit_id in active])
        windows += chosen
    return NeighbourWindows(nearest, pd.DataFrame(windows, columns=[*EXEMPLAR_COLUMNS, "active_unit"]))


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
        self.contexts: dict[int, ContextActivations] = {}
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
        self.contexts[row] = replace(context, activations=context.activations[:n].copy())

    def of(self, unit: int, near: Sequence[Neighbour]) -> list[tuple[Neighbour, list[_Place]]]:
        """The neighbours of a unit that are active in the tokens read, each with its strong places, the strongest first."""
        found = []
        for k, (neighbour, number) in enumerate(zip(near, self._near[unit].tolist(), strict=True)):
            strength, bound = self._strength[unit, k], STRONG * self._largest[number]
            order = [i for i in np.argsort(-strength, kind="stable").tolist() if strength[i] >= bound]
            if bound > 0:
                places = [_Place(int(self._row[unit, k, i]), int(self._mark[unit, k, i])) for i in order]
                found.append((neighbour, places))
        return found


class _Choice:
    """Accepts windows of a unit that overlap neither its exemplars nor each other, and whose texts are new."""

    def __init__(self, own: pd.DataFrame, text: CorpusText, window: int) -> None:
        """`own` are the unit's exemplars, with the ordinals of their marked tokens in the corpus."""
        self.documents = set(own["document"].tolist())
        self._window, self._shown = window, ShownTexts(text)
        self._taken = own["ordinal_"].tolist()
        for ordinal in self._taken:
            self._shown.show(ordinal)

    def accept(self, ordinal: int) -> bool:
        """Take the window of the token with this ordinal, if it is acceptable."""
        apart = all(abs(ordinal - other) >= self._window for other in self._taken)
        if not apart or not self._shown.add(ordinal):
            return False
        self._taken.append(ordinal)
        return True


@dataclass(frozen=True)
class _Source:
    """The texts of which windows are made."""

    corpus: Corpus
    texts: TokenTexts
    text: CorpusText
    settings: WindowSettings

    def windows(
        self,
        unit: UnitKey,
        number: int,
        near: Sequence[tuple[Neighbour, list[_Place]]],
        contexts: Mapping[int, ContextActivations],
        own: pd.DataFrame,
    ) -> Iterator[dict[str, Any]]:
        """A unit's windows as exemplars: of each neighbour in turn the strongest, from documents without an exemplar of the unit first.

        `number` is the unit's among the activations of `contexts`.
        """
        choice = _Choice(own, self.text, self.settings.window)
        by_neighbour = [[(neighbour, place) for place in of_neighbour] for neighbour, of_neighbour in near]
        places = [*in_turn(by_neighbour[:NEAREST]), *in_turn(by_neighbour[NEAREST:])]
        places.sort(key=lambda one: int(self.corpus.contexts["document"][one[1].row]) in choice.documents)
        for neighbour, (row, mark) in places:
            candidate = cut_candidate(contexts[row], contexts[row].activations[number], row, mark, self.settings)
            # The unit is silent at the mark, 0 of any maximum.
            window = exemplar_row(self.corpus, self.texts, unit, NEIGHBOUR, candidate, 1.0, self.settings)
            if is_consistent(window) and choice.accept(int(self.corpus.contexts["offset"][row]) + mark):
                yield {**window, "active_unit": neighbour.unit.unit_id}
