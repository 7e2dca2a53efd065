"""A finished sketch as arrays: the final bins are cut, and the events of each unit and bin are found.

Which events of a bin are known? A stratum that is full has events of all its documents up to its priority threshold. So up to the
lowest threshold of all full strata that overlap the bin, the sketch has events of every document of the bin, whatever the densities
of its strata. Of each document it has all of them up to the lowest priority at which a stratum has `PER_CLUSTER` of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import numpy as np

from sae.corpus.corpus import Corpus
from sae.harvest.bins import CELLS, bin_of, cell_of, count_per_bin, edges, events_from
from sae.harvest.bottom_k import HIGHEST, PER_CLUSTER
from sae.harvest.shown_texts import CorpusText, ShownTexts
from sae.harvest.sketch import INTERVALS, STORED_FIELDS, STRATA, Sketch
from sae.harvest.token_positions import EXPLAIN, JUDGE
from sae.harvest.uncounted import counted_mask

SampleName = Literal["events", "tops"]
"""Names of a sketch's two samples."""


class SketchReader:
    """A sketch as arrays, with its rows found by unit and split. Indices point into the arrays of one of its samples."""

    def __init__(self, sketch: Sketch, corpus: Corpus, bins: int) -> None:
        self.state = sketch.state()
        self.uncounted = sketch.uncounted.ordinals()
        self.histogram = self.state["histogram"][..., 1:].sum(axis=1)
        self.corpus, self.bins, self.seed, self.unit_ids = corpus, bins, sketch.seed, sketch.unit_ids
        self.maximum = self.state["maximum"].astype(np.float64)
        threshold = sketch.events.priority_threshold.cpu().numpy()
        self.priority_threshold = threshold.reshape(len(self.maximum), 2, STRATA)
        unit_splits = np.arange(2 * len(self.maximum) + 1)
        self._sort_events()
        self._event_cuts = np.searchsorted(self.state["events.head"], unit_splits)
        self._top_cuts = np.searchsorted(self.state["tops.head"], unit_splits[::2])
        samples: tuple[SampleName, SampleName] = ("events", "tops")
        self.bin = {sample: self._bins(sample) for sample in samples}
        self.stratum = -(
            -cell_of(self.state["events.activation"], self.maximum[self.state["events.head"] // 2]) * INTERVALS // CELLS
        )
        self.documents = {sample: self._documents(self.state[f"{sample}.token"]) for sample in samples}
        # bfloat16 values of 0 or more are ordered as their bits are. Slot -1, a silent window, finds the 0 appended.
        peaks = np.append(self.state["events.windows"].max(axis=1, initial=0), 0)
        self.peak = peaks[self.state["events.slot"]]

    @cached_property
    def text(self) -> CorpusText:
        """The texts around the corpus's tokens."""
        return CorpusText(self.corpus)

    def _sort_events(self) -> None:
        """Sort the events by priority within their unit and split, whatever their strata."""
        order = np.lexsort([self.state[f"events.{name}"] for name in ("token", "priority", "head")])
        self.state |= {f"events.{name}": self.state[f"events.{name}"][order] for name in STORED_FIELDS}

    def _bins(self, sample: SampleName) -> np.ndarray:
        maximum = self.maximum[self.state[f"{sample}.head"] // 2]
        return bin_of(self.state[f"{sample}.activation"], maximum, self.bins)

    def _documents(self, token: np.ndarray) -> np.ndarray:
        """Document numbers of corpus ordinals."""
        offsets = self.corpus.contexts["offset"]
        return np.asarray(self.corpus.contexts["document"][np.searchsorted(offsets, token, side="right") - 1])

    def window(self, sample: SampleName, i: int) -> np.ndarray:
        """Activations over an event's window, as far as its context reaches, float32."""
        slot, length = self.state[f"{sample}.slot"][i], self.state[f"{sample}.length"][i]
        if slot < 0:
            return np.zeros(length, dtype=np.float32)
        return _bfloat16(self.state[f"{sample}.windows"][slot, :length])

    def shapes(self, index: Sequence[int] | np.ndarray) -> np.ndarray:
        """Lengths of the events' windows and places of their marks (n, 2)."""
        rows = np.asarray(index, dtype=np.int64)
        return np.stack([self.state["events.length"][rows], self.state["events.start"][rows]], axis=1).astype(np.int64)

    def counted(self, first: int, n: int) -> np.ndarray:
        """Whether each of `n` tokens from the ordinal `first` on is counted; all of them if that was not kept."""
        return np.ones(n, dtype=bool) if self.uncounted is None else counted_mask(self.uncounted, first, n)

    def bin_at(self, sample: SampleName, i: int) -> int:
        """The bin of an event."""
        return int(self.bin[sample][i])

    def bin_counts(self, unit: int, bins: int, split: int | None = None) -> np.ndarray:
        """Events of a unit in each of `bins` equal parts of (0, max]; of both splits if none is given."""
        histogram = self.histogram[unit] if split is None else self.state["histogram"][unit, split, 1:]
        return count_per_bin(histogram, self.maximum[unit], bins)

    def rarity(self, unit: int, activation: float) -> tuple[float, float]:
        """Shares of the counted tokens at which a unit is more active than this, and at least as active, to the precision of a cell."""
        n_counted = max(int(self.state["n_counted"]), 1)
        above, at_least = events_from(self.histogram[unit], float(self.maximum[unit]), activation)
        return above / n_counted, at_least / n_counted if activation > 0 else 1.0

    def event_range(self, unit: int, split: int) -> slice:
        """A unit's sampled events of one split, in order of priority."""
        first, last = self._event_cuts[2 * unit + split : 2 * unit + split + 2]
        return slice(int(first), int(last))

    def window_range(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ordinals in the corpus of the first token of events' windows, and of the one after the last."""
        first = self.state["events.token"][index] - self.state["events.start"][index]
        return first, first + self.state["events.length"][index]

    def early_events(self, unit: int, split: int, bin_: int) -> np.ndarray:
        """Indices of events of one bin, lowest priority first: the first one of each document, and some others."""
        here = self.event_range(unit, split)
        limit = self._limit(unit, split, self._strata(unit, bin_))
        early = (self.bin["events"][here] == bin_) & (self.state["events.priority"][here] <= limit)
        return np.asarray(here.start + np.flatnonzero(early))

    def known_events(self, unit: int, split: int, bin_: int) -> tuple[np.ndarray, np.ndarray]:
        """Indices of events of one bin, and below which priority each would be known, whatever the others' priorities.

        For each document, they are all of its events in the bin with a priority below one number.
        """
        here, strata = self.event_range(unit, split), self._strata(unit, bin_)
        index = here.start + np.flatnonzero(np.isin(self.stratum[here], strata))
        documents, document = np.unique(self.documents["events"][index], return_inverse=True)
        limit = np.full(len(documents), self._limit(unit, split, strata))
        for stratum in strata:
            of_stratum = self.stratum[index] == stratum
            for i in np.flatnonzero(np.bincount(document[of_stratum], minlength=len(documents)) >= PER_CLUSTER):
                last = index[of_stratum & (document == i)][PER_CLUSTER - 1]
                limit[i] = min(limit[i], int(self.state["events.priority"][last]))
        known = (self.bin["events"][index] == bin_) & (self.state["events.priority"][index] < limit[document])
        return index[known], limit[document][known]

    def knows_all_documents(self, unit: int, split: int, bin_: int) -> bool:
        """Whether the sample has events of every document with events in the bin."""
        return self._limit(unit, split, self._strata(unit, bin_)) == HIGHEST

    def _limit(self, unit: int, split: int, strata: np.ndarray) -> int:
        """The lowest priority threshold of the strata that are full."""
        threshold = self.priority_threshold[unit, split, strata]
        return int(threshold.min(initial=HIGHEST))

    def _strata(self, unit: int, bin_: int) -> np.ndarray:
        """Strata that hold events of the bin. A stratum without events in the part that overlaps the bin is left out, so that it
        does not lower their limit."""
        if not bin_:
            return np.zeros(1, dtype=int)
        first, last = edges(self.maximum[unit], self.bins)[bin_ - 1 : bin_ + 1]
        occupied = first + np.flatnonzero(self.histogram[unit, first:last])
        interval = occupied // (CELLS // INTERVALS)
        return np.asarray(interval[np.diff(interval, prepend=-1) > 0] + 1)

    def top_events(self, unit: int, split: int | None = None) -> np.ndarray:
        """Indices of a unit's top events, strongest first; of both splits if none is given."""
        index = np.arange(self._top_cuts[unit], self._top_cuts[unit + 1])
        if split is not None:
            index = index[self.state["tops.head"][index] % 2 == split]
        return index[np.lexsort((self.state["tops.token"][index], -self.state["tops.activation"][index]))]

    def n_documents(self, unit: int, most: int) -> tuple[int, int]:
        """Number of documents, explaining and judging, with a text of their own among a unit's sampled events with positive
        activation. Counts up to `most` of each."""
        shown = ShownTexts(self.text)
        counts = {}
        for split in (JUDGE, EXPLAIN):  # texts are judged first, and then not shown to the explainer
            documents: set[int] = set()
            here = self.event_range(unit, split)
            for i in here.start + np.flatnonzero(self.bin["events"][here] > 0):
                document = int(self.documents["events"][i])
                if len(documents) < most and document not in documents and shown.add(self.state["events.token"][i]):
                    documents.add(document)
            counts[split] = len(documents)
        return counts[EXPLAIN], counts[JUDGE]


def _bfloat16(bits: np.ndarray) -> np.ndarray:
    """bfloat16 values stored as int16, as float32."""
    return (bits.astype(np.uint16).astype(np.uint32) << 16).view(np.float32)
