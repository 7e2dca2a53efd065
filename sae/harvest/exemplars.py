"""From a finished sketch to exemplars: the final bins are cut, and each unit's windows are chosen and turned into text.

Which events of a bin are known? A stratum that is full holds all of its events up to its priority threshold. So up to the lowest
threshold of all full strata that overlap the bin, every event of the bin is in the sketch: those events are a uniform sample of
the bin, whatever the densities of its strata.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from sae.corpus.corpus import Corpus
from sae.harvest.activation_blocks import CELLS
from sae.harvest.bins import bin_of, cells_of_bin, count_per_bin
from sae.harvest.bottom_k import HIGHEST
from sae.harvest.columns import COUNTED, EXEMPLAR_COLUMNS, HISTOGRAM_BINS, ExemplarRow, UnitRow
from sae.harvest.silent_windows import alike
from sae.harvest.sketch import INTERVALS, STORED_FIELDS, STRATA, Sketch
from sae.harvest.token_positions import EXPLAIN, JUDGE
from sae.harvest.uncounted import counted_mask
from sae.harvest.units import UnitKey

SampleName = Literal["events", "tops"]
"""Names of a sketch's two samples."""
TokenTexts = Callable[[np.ndarray], list[str]]
"""Turns token ids (n,) into one string per token."""


@dataclass(frozen=True)
class Selection:
    """The number of exemplars of each role that are taken from the sketch, with `bins` equal parts of (0, max].

    For the explainer: `top`, `spread` over the bins, `explain_silent`. For the judge: `per_bin` and `silent`. For readers of the
    report: `shown_top`. A unit active in fewer than `min_documents` documents of the sample is barely active.
    """

    bins: int
    per_bin: int
    top: int
    shown_top: int
    spread: int
    explain_silent: int
    silent: int
    min_documents: int


@dataclass(frozen=True)
class ChosenEvent:
    """One exemplar before its text is read: `token` is its ordinal in the corpus, `start` its index in the window."""

    unit: int
    role: str
    token: int
    start: int
    activation: float
    bin: int
    probability: float | None
    window: np.ndarray


class SketchReader:
    """A sketch as arrays, with its rows found by unit and split. Indices point into the arrays of one of its samples."""

    def __init__(self, sketch: Sketch, corpus: Corpus, bins: int) -> None:
        self.state = sketch.state()
        self.uncounted = sketch.uncounted.ordinals()
        self.corpus, self.bins = corpus, bins
        self.maximum = self.state["maximum"].astype(np.float64)
        self.scale = np.exp2(sketch.exponent.cpu().numpy().astype(np.float64))
        threshold = sketch.events.priority_threshold.cpu().numpy()
        self.priority_threshold = threshold.reshape(len(self.maximum), 2, STRATA)
        self.full = self.priority_threshold < HIGHEST
        unit_splits = np.arange(2 * len(self.maximum) + 1)
        self._sort_events()
        self._event_cuts = np.searchsorted(self.state["events.head"], unit_splits)
        self._top_cuts = np.searchsorted(self.state["tops.head"], unit_splits[::2])
        samples: tuple[SampleName, SampleName] = ("events", "tops")
        self.bin = {sample: self._bins(sample) for sample in samples}
        self.documents = {sample: self._documents(self.state[f"{sample}.token"]) for sample in samples}
        # bfloat16 values of 0 or more are ordered as their bits are. Slot -1, a silent window, finds the 0 appended.
        peaks = np.append(self.state["events.windows"].max(axis=1, initial=0), 0)
        self.peak = peaks[self.state["events.slot"]]

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

    def bin_counts(self, unit: int, bins: int) -> np.ndarray:
        """Events of a unit in each of `bins` equal parts of (0, max]."""
        return count_per_bin(self.state["histogram"][unit, 1:], self.maximum[unit], self.scale[unit], bins)

    def event_range(self, unit: int, split: int) -> slice:
        """A unit's sampled events of one split, in order of priority."""
        first, last = self._event_cuts[2 * unit + split : 2 * unit + split + 2]
        return slice(int(first), int(last))

    def uniform_sample(self, unit: int, split: int, bin_: int) -> np.ndarray:
        """Indices of events that are a uniform sample of one bin, lowest priority first."""
        here, strata = self.event_range(unit, split), self._strata(unit, bin_)
        full = self.full[unit, split, strata]
        limit = self.priority_threshold[unit, split, strata][full].min() if full.any() else HIGHEST
        known = (self.bin["events"][here] == bin_) & (self.state["events.priority"][here] <= limit)
        return np.asarray(here.start + np.flatnonzero(known))

    def _strata(self, unit: int, bin_: int) -> np.ndarray:
        """Strata that hold events of the bin. A stratum without events in the part that overlaps the bin is left out, so that it
        does not lower the limit of `uniform_sample`."""
        if not bin_:
            return np.zeros(1, dtype=int)
        cells = cells_of_bin(bin_, self.bins, self.maximum[unit], self.scale[unit], CELLS)
        occupied = cells.start + np.flatnonzero(self.state["histogram"][unit, 1 + cells.start : 1 + cells.stop])
        interval = occupied // (CELLS // INTERVALS)
        return np.asarray(interval[np.diff(interval, prepend=-1) > 0] + 1)

    def top_events(self, unit: int, split: int | None = None) -> np.ndarray:
        """Indices of a unit's top events, strongest first; of both splits if none is given."""
        index = np.arange(self._top_cuts[unit], self._top_cuts[unit + 1])
        if split is not None:
            index = index[self.state["tops.head"][index] % 2 == split]
        return index[np.lexsort((self.state["tops.token"][index], -self.state["tops.activation"][index]))]

    def n_documents(self, unit: int) -> tuple[int, int]:
        """Number of documents, explaining and judging, among a unit's sampled events with positive activation."""
        ranges = [self.event_range(unit, split) for split in (EXPLAIN, JUDGE)]
        explaining, judging = (set(self.documents["events"][r][self.bin["events"][r] > 0]) for r in ranges)
        return len(explaining), len(judging)


def select(reader: SketchReader, unit: int, selection: Selection) -> Iterator[ChosenEvent]:
    """Choose a unit's exemplars, each event for one role only."""
    taken: set[int] = set()

    def choose(role: str, sample: SampleName, i: int, bin_: int, probability: float | None) -> Iterator[ChosenEvent]:
        token = int(reader.state[f"{sample}.token"][i])
        if token not in taken:
            taken.add(token)
            start, activation = int(reader.state[f"{sample}.start"][i]), float(reader.state[f"{sample}.activation"][i])
            yield ChosenEvent(unit, role, token, start, activation, bin_, probability, reader.window(sample, i))

    counts = reader.bin_counts(unit, selection.bins)
    judged: list[int] = []
    for bin_ in range(1, selection.bins + 1):
        chosen = reader.uniform_sample(unit, JUDGE, bin_)[: selection.per_bin]
        judged += chosen[:1].tolist()  # one a bin, so that a larger sample has the same silent windows
        for i in chosen:
            yield from choose("score", "events", i, bin_, len(chosen) / max(counts[bin_ - 1], len(chosen)))
    for role, split, n in (("quiet", JUDGE, selection.silent), ("explain_quiet", EXPLAIN, selection.explain_silent)):
        silent = reader.uniform_sample(unit, split, 0)
        for i in silent[alike(reader.shapes(judged), reader.shapes(silent), reader.peak[silent], n)]:
            yield from choose(role, "events", i, 0, None)
    documents: set[int] = set()
    for i in _one_per_document(reader, "tops", reader.top_events(unit, EXPLAIN), documents, selection.top):
        yield from choose("explain_top", "tops", i, int(reader.bin["tops"][i]), None)
    for i in _one_per_document(reader, "events", _spread(reader, unit, selection), documents, selection.spread):
        yield from choose("explain_spread", "events", i, int(reader.bin["events"][i]), None)
    for i in reader.top_events(unit)[: selection.shown_top]:
        yield from choose("top", "tops", i, int(reader.bin["tops"][i]), None)


def tables(
    sketch: Sketch,
    corpus: Corpus,
    units: tuple[UnitKey, ...],
    hook_points: dict[str, str],
    selection: Selection,
    texts: TokenTexts,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables of a harvest: one row per unit, and one row per exemplar.

    `hook_points` maps each kind of unit to the hook point that it was read at.
    """
    reader = SketchReader(sketch, corpus, selection.bins)
    unit_rows: list[UnitRow] = []
    exemplar_rows: list[ExemplarRow] = []
    for number, key in enumerate(units):
        unit_rows.append(_unit_row(reader, number, key, hook_points[key.kind], selection))
        exemplar_rows += [_exemplar_row(reader, key, event, texts) for event in select(reader, number, selection)]
    exemplars = pd.DataFrame(exemplar_rows, columns=EXEMPLAR_COLUMNS)
    if reader.uncounted is None:  # shards of an earlier version: the table is one of that version
        exemplars = exemplars.drop(columns=COUNTED)
    return pd.DataFrame(unit_rows), exemplars


def _unit_row(reader: SketchReader, unit: int, key: UnitKey, hook_point: str, selection: Selection) -> UnitRow:
    active = int(reader.state["histogram"][unit, 1:].sum())
    explaining, judging = reader.n_documents(unit)
    few = explaining + judging < selection.min_documents or min(explaining, judging) < 2
    return {
        "unit_id": key.unit_id,
        "kind": key.kind,
        "index": key.index,
        "sign": key.sign,
        "hook_point": hook_point,
        "max_activation": float(reader.maximum[unit]),
        "density": active / max(int(reader.state["n_counted"]), 1),
        "status": "dead" if not active else "barely_active" if few else "alive",
        "n_events": active,
        "bin_events": reader.bin_counts(unit, selection.bins).tolist(),
        "histogram": reader.bin_counts(unit, HISTOGRAM_BINS).tolist(),
    }


def _exemplar_row(reader: SketchReader, key: UnitKey, event: ChosenEvent, texts: TokenTexts) -> ExemplarRow:
    contexts = reader.corpus.contexts
    context = contexts[np.searchsorted(contexts["offset"], event.token, side="right") - 1]
    first = event.token - event.start
    document, position = int(context["document"]), int(context["position"] + event.token - context["offset"])
    maximum = float(reader.maximum[event.unit])
    tokens = texts(np.asarray(reader.corpus.tokens[first : first + len(event.window)]))
    activations = event.window.astype(np.float64)
    activations[event.start] = event.activation  # the event's own in float32, where the window has bfloat16
    counted = reader.counted(first, len(tokens))
    mark = move_to_whole_characters(tokens, activations, counted, event.start)
    return {
        "exemplar_id": f"{key.unit_id}@{document}.{position}",
        "unit_id": key.unit_id,
        "role": event.role,
        "document": document,
        "position": position,
        "activation": event.activation,
        "activation_fraction": event.activation / maximum if maximum else 0.0,
        "bin": event.bin,
        "inclusion_probability": event.probability,
        "mark": mark,
        "tokens": tokens,
        "token_activations": activations.tolist(),
        "counted": counted.tolist(),
    }


def move_to_whole_characters(tokens: list[str], activations: np.ndarray, counted: np.ndarray, mark: int) -> int:
    """Move activations, in place, and the mark to the tokens that complete a character. Returns the mark's new index.

    A character that spans several tokens is the text of its last one; the earlier ones have the empty text. It is counted if one
    of its tokens is.
    """
    for i in range(len(tokens) - 1):
        if not tokens[i]:
            activations[i + 1] = max(activations[i], activations[i + 1])
            counted[i + 1] |= counted[i]
    while not tokens[mark] and mark + 1 < len(tokens):
        mark += 1
    return mark


def _spread(reader: SketchReader, unit: int, selection: Selection) -> Iterator[int]:
    """Explaining events, one from each bin in turn, from the top bin down."""
    lists = [list(reader.uniform_sample(unit, EXPLAIN, bin_)) for bin_ in range(selection.bins, 0, -1)]
    for turn in range(max((len(events) for events in lists), default=0)):
        yield from (events[turn] for events in lists if turn < len(events))


def _one_per_document(
    reader: SketchReader, sample: SampleName, index: Iterable[int], documents: set[int], n: int
) -> Iterator[int]:
    """The first `n` of the events that lie in documents of their own and in none of `documents`, which grows."""
    for i in index:
        document = int(reader.documents[sample][i])
        if n and document not in documents:
            documents.add(document)
            n -= 1
            yield i


def _bfloat16(bits: np.ndarray) -> np.ndarray:
    """bfloat16 values stored as int16, as float32."""
    return (bits.astype(np.uint16).astype(np.uint32) << 16).view(np.float32)
