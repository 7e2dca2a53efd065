"""Windows in which one of a unit's nearest neighbours is strongly active, and the unit itself is silent at the mark.

They are chosen among the places that `sae.analysis.neighbour_places` finds, by the unit's exemplars, and nothing is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import pandas as pd

from sae.analysis.context_search import context_of
from sae.analysis.explainer_windows import NEIGHBOUR, WindowSettings, exemplar_row, in_turn, is_consistent
from sae.analysis.neighbour_places import NeighbourPlaces
from sae.analysis.neighbours import Neighbour
from sae.corpus.corpus import Corpus
from sae.harvest.columns import EXEMPLAR_COLUMNS
from sae.harvest.exemplars import TokenTexts
from sae.harvest.shown_texts import CorpusText, ShownTexts
from sae.harvest.units import UnitKey

NEAREST = 10
"""Neighbours of each unit. Those farther away take the places of neighbours that have too few windows, the nearest of them first."""


class NeighbourWindows(NamedTuple):
    """For each unit its nearest neighbours, nearest first, and a table of windows like a harvest's exemplars.

    `active_unit`, a column more than exemplars have, is the neighbour that is active at the mark.
    """

    nearest: list[list[Neighbour]]
    windows: pd.DataFrame


def neighbour_windows(
    places: NeighbourPlaces,
    corpus: Corpus,
    texts: TokenTexts,
    units: Sequence[UnitKey],
    exemplars: pd.DataFrame,
    most: int,
    settings: WindowSettings,
) -> NeighbourWindows:
    """The nearest neighbours of each unit, and at most `most` windows of them that tell the unit apart.

    `places` are those of these units. The neighbours are the `NEAREST` ones that are active in the tokens read. If they have too few
    windows, units farther away follow, as far as their windows are needed. `exemplars` are the harvest's: a window overlaps none of the
    unit's own and repeats the text of none, and comes from another document if there are enough.
    """
    rows, marks = context_of(corpus, exemplars)
    exemplars = exemplars.assign(ordinal_=corpus.contexts["offset"][rows] + marks)
    own = {str(unit_id): of_unit for unit_id, of_unit in exemplars.groupby("unit_id")}
    source, nearest, windows = _Source(corpus, texts, CorpusText(corpus), settings), [], list[dict[str, Any]]()
    for number, unit in enumerate(units):
        near = places.of(number)
        found = source.windows(unit, places, near, own.get(unit.unit_id, exemplars.iloc[:0]))
        chosen = list(islice(found, most))
        active = {window["active_unit"] for window in chosen}
        nearest.append([one for k, (one, _) in enumerate(near) if k < NEAREST or one.unit.unit_id in active])
        windows += chosen
    return NeighbourWindows(nearest, pd.DataFrame(windows, columns=[*EXEMPLAR_COLUMNS, "active_unit"]))


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
        self, unit: UnitKey, places: NeighbourPlaces, near: Sequence[tuple[Neighbour, range]], own: pd.DataFrame
    ) -> Iterator[dict[str, Any]]:
        """A unit's windows as exemplars: of each neighbour in turn the strongest, from documents without an exemplar of the unit first.

        `near` are the unit's neighbours with the numbers of their places.
        """
        choice = _Choice(own, self.text, self.settings.window)
        by_neighbour = [[(neighbour, place) for place in of_neighbour] for neighbour, of_neighbour in near]
        ordered = [*in_turn(by_neighbour[:NEAREST]), *in_turn(by_neighbour[NEAREST:])]
        contexts = self.corpus.contexts
        ordered.sort(key=lambda one: int(contexts["document"][places.row[one[1]]]) in choice.documents)
        for neighbour, place in ordered:
            candidate = places.candidate(self.corpus, place)
            # The unit is silent at the mark, 0 of any maximum.
            window = exemplar_row(self.corpus, self.texts, unit, NEIGHBOUR, candidate, 1.0, self.settings)
            if is_consistent(window) and choice.accept(int(contexts["offset"][candidate.row]) + candidate.mark):
                yield {**window, "active_unit": neighbour.unit.unit_id}
