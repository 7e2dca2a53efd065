"""The pairs of a comparison in memory: which features belong together, and the values by which pairs are sorted."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from autointerp.explorer.comparison import files
from autointerp.explorer.comparison.schema import NEAR, Matching
from autointerp.explorer.search.meaning import Meanings
from autointerp.explorer.search.reader import Reader
from autointerp.explorer.search.texts import Texts
from autointerp.judges.embedded.word_vectors import lexicon

NONE = -1
PARENT, CHILD, LAST = 1, 2, 3
"""Places of an entry in a family: the feature that splits, and those that it splits into."""
Integers = NDArray[np.int64]
Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


class Entries(NamedTuple):
    """Entries of a list: rows of features in both indexes, `NONE` for no feature; the cosine, and the place in a family, 0 for none."""

    own: Integers
    other: Integers
    cosine: Floats
    place: NDArray[np.int8]
    family: Integers

    def take(self, places: Integers | Bools | slice) -> Entries:
        """Some of the entries."""
        return Entries(
            self.own[places], self.other[places], self.cosine[places], self.place[places], self.family[places]
        )

    def __len__(self) -> int:
        return len(self.own)


class Half:
    """One side of a comparison: an index, and the nearest features of the other index."""

    def __init__(self, reader: Reader, other: str, n_features: int) -> None:
        self.reader = reader
        columns = reader.columns
        shown = ["nearest", "cosine", "mutual", "shared", "compared"]
        table = files.table(reader.folder.path, other, columns=shown)
        self.nearest: Integers = pc.fill_null(table["nearest"], NONE).to_numpy().astype(np.int64)
        self.cosine: Floats = table["cosine"].to_numpy()
        self.mutual: Bools = table["mutual"].to_numpy().astype(bool)
        self.shared: Integers = pc.fill_null(table["shared"], NONE).to_numpy().astype(np.int64)
        self.compared: Integers = pc.fill_null(table["compared"], NONE).to_numpy().astype(np.int64)
        self.active: Bools = columns.numbers["events"][:n_features] > 0

    @property
    def near(self) -> Bools:
        """Mask of the features with a near one in the other index."""
        return self.cosine >= NEAR

    @property
    def paired(self) -> Bools:
        """Mask of the features that are near to their nearest, and it to them."""
        return self.mutual & self.near


class Pairs:
    """The matched features of two indexes, the own one and the other. Lists are made when they are first asked for."""

    def __init__(self, own: Reader, other: Reader, matching: Matching) -> None:
        self.matching = matching
        self.same = matching.relation == "same"
        self.own = Half(own, matching.other, own.about.n_features)
        self.other = Half(other, matching.own, other.about.n_features)

    @cached_property
    def pairs(self) -> Entries:
        """Features of the own index that are active in it, with their near and mutual nearest. With one dictionary, every feature that is
        active in both."""
        kept = self.own.paired & self.own.active
        if self.same:
            kept &= self.other.active
        rows = np.flatnonzero(kept)
        return _entries(rows, self.own.nearest[rows], self.own.cosine[rows])

    @cached_property
    def only_own(self) -> Entries:
        """Active features without a near one in the other index, beside their nearest; with one dictionary those that are not active there."""
        rows = np.flatnonzero(self._alone(self.own, self.other))
        return _entries(rows, self.own.nearest[rows], self.own.cosine[rows])

    @cached_property
    def only_other(self) -> Entries:
        """The same of the other index."""
        rows = np.flatnonzero(self._alone(self.other, self.own))
        return _entries(self.other.nearest[rows], rows, self.other.cosine[rows])

    @cached_property
    def splits(self) -> Entries:
        """Each feature of the own index that is the nearest of several near ones of the other, followed by these."""
        rows, parents = self._families(self.other)
        return _trees(parents, rows, self.other.cosine[rows], parent_is_own=True)

    @cached_property
    def joins(self) -> Entries:
        """Each feature of the other index that is the nearest of several near ones of the own, followed by these."""
        rows, parents = self._families(self.own)
        return _trees(parents, rows, self.own.cosine[rows], parent_is_own=False)

    @cached_property
    def changed(self) -> Entries:
        """The pairs whose explanations are not the same."""
        own, other = (self._explanations(side) for side in (0, 1))
        differ = pc.fill_null(pc.not_equal(own, other), False).to_numpy(zero_copy_only=False)
        return self.pairs.take(differ.astype(bool))

    @cached_property
    def graded(self) -> Entries:
        """The pairs with a grade in both indexes."""
        return self.pairs.take(np.isfinite(self.difference(self.pairs)))

    def difference(self, entries: Entries) -> Floats:
        """The grade in the other index minus that in the own one; NaN if one is missing."""
        return self._value(entries, 1, "grade") - self._value(entries, 0, "grade")

    def value(self, entries: Entries, side: int, name: str) -> Floats:
        """A column of the index of a side for each entry, NaN if it has no feature there."""
        return self._value(entries, side, name)

    def ratio(self, entries: Entries, name: str) -> Floats:
        """The logarithm to base 10 of the other value over the own one; NaN if one of them is 0 or missing."""
        values = [self._value(entries, side, name) for side in (0, 1)]
        known = (values[0] > 0) & (values[1] > 0)
        logs = [np.log10(np.where(known, each, 1)) for each in values]
        return np.where(known, logs[1] - logs[0], np.nan).astype(np.float32)

    def similarity(self, entries: Entries) -> Floats:
        """The cosine of the meanings of two explanations; NaN unless both features are explained."""
        places = [self._label(entries, side) for side in (0, 1)]
        known = (places[0] >= 0) & (places[1] >= 0)
        found = np.full(len(entries), np.nan, dtype=np.float32)
        n_own = len(self.own.reader.columns.labels)
        if known.any():
            found[known] = self._meanings.between(places[0][known], places[1][known] + n_own)
        return found

    def shared(self, entries: Entries) -> tuple[Integers, Integers]:
        """How many of the strongest examples are at the same tokens, and of how many; `NONE` if that is not known of the pair."""
        half = self.own
        known = (entries.own != NONE) & (entries.other != NONE) & (half.nearest[entries.own] == entries.other)
        return np.where(known, half.shared[entries.own], NONE), np.where(known, half.compared[entries.own], NONE)

    @cached_property
    def _meanings(self) -> Meanings:
        """The explanations of both indexes in one list, the own ones first."""
        texts = [half.reader.columns.labels["explanation"] for half in (self.own, self.other)]
        return Meanings(
            Texts.of(pa.chunked_array([chunk for text in texts for chunk in text.chunks], pa.string())), lexicon()
        )

    def _alone(self, half: Half, back: Half) -> Bools:
        return half.active & (~back.active if self.same else ~half.near)

    def _families(self, children: Half) -> tuple[Integers, Integers]:
        """The children of one side with siblings, and the parent of each on the other side. Features that are never active are left out."""
        rows = np.flatnonzero(children.near & children.active & (not self.same))
        parents = children.nearest[rows]
        several = np.bincount(parents)[parents] > 1 if len(rows) else np.zeros(0, dtype=bool)
        return rows[several], parents[several]

    def _explanations(self, side: int) -> pa.Array:
        """The leading explanation of each pair, null for none."""
        half, places = (self.own, self.other)[side], self._label(self.pairs, side)
        known = pa.array(places, mask=places < 0)
        return half.reader.columns.labels["explanation"].combine_chunks().take(known)

    def _label(self, entries: Entries, side: int) -> Integers:
        rows = entries[side]
        found = (self.own, self.other)[side].reader.columns.label[rows]
        return np.where(rows == NONE, NONE, found)

    def _value(self, entries: Entries, side: int, name: str) -> Floats:
        rows = entries[side]
        found = (self.own, self.other)[side].reader.columns.numbers[name][rows]
        return np.where(rows == NONE, np.nan, found).astype(np.float32)


def _entries(own: Integers, other: Integers, cosine: Floats) -> Entries:
    n = len(own)
    return Entries(own, other, cosine, np.zeros(n, dtype=np.int8), np.zeros(n, dtype=np.int64))


def _trees(parents: Integers, children: Integers, cosine: Floats, *, parent_is_own: bool) -> Entries:
    """Families, the largest first: each parent and then its children, the nearest first."""
    sizes = np.bincount(parents, minlength=1) if len(parents) else np.zeros(1, dtype=np.int64)
    order = np.lexsort((children, -cosine, parents, -sizes[parents]))
    parents, children, cosine = parents[order], children[order], cosine[order]
    first = np.flatnonzero(np.diff(parents, prepend=NONE - 1))
    last = np.append(first[1:] - 1, len(parents) - 1) if len(parents) else first
    place = np.full(len(parents), CHILD, dtype=np.int8)
    place[last] = LAST
    families = np.cumsum(np.isin(np.arange(len(parents)), first)) - 1
    none = np.full(len(parents), NONE)

    def with_parents(column: NDArray[np.generic], of_parent: NDArray[np.generic]) -> NDArray[np.generic]:
        return np.insert(column, first, of_parent)

    at_parent, at_child = with_parents(none, parents[first]), with_parents(children, np.full(len(first), NONE))
    own, other = (at_parent, at_child) if parent_is_own else (at_child, at_parent)
    return Entries(
        own.astype(np.int64),
        other.astype(np.int64),
        with_parents(cosine, np.full(len(first), np.nan)).astype(np.float32),
        with_parents(place, np.full(len(first), PARENT)).astype(np.int8),
        with_parents(families, families[first]).astype(np.int64),
    )
