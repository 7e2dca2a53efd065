"""From a finished sketch to exemplars: the final bins are cut, and each unit's windows are chosen and turned into text.

A bin's known events are those with priority at or below the threshold of every full interval that it has events in: the lowest
of them are a uniform sample of the bin, whatever the intervals' densities.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from sae.corpus.corpus import Corpus
from sae.harvest.activation_blocks import CELLS
from sae.harvest.bottom_k import Rows as Kept
from sae.harvest.sketch import INTERVALS, LANES, Sketch
from sae.harvest.token_positions import EXPLAIN, JUDGE
from sae.harvest.units import UnitKey

HISTOGRAM_BINS = 20


@dataclass(frozen=True)
class Selection:
    """How many exemplars of each role are taken from the sketch; `bins` equal parts of (0, max].

    `top` are for the explainer, `shown_top` for readers of the report.
    """

    bins: int
    per_bin: int
    top: int
    shown_top: int
    spread: int
    explain_quiet: int
    quiet: int
    min_documents: int


@dataclass(frozen=True)
class Row:
    """One exemplar before its text is read: `token` is its ordinal in the corpus, `start` its place in the window."""

    unit: int
    role: str
    token: int
    start: int
    activation: float
    bin: int
    probability: float | None
    window: np.ndarray


class SketchReader:
    """A sketch as arrays, with its rows found by unit."""

    def __init__(self, sketch: Sketch, corpus: Corpus, bins: int) -> None:
        self.state = sketch.state()
        self.corpus, self.bins = corpus, bins
        self.maximum = self.state["maximum"].astype(np.float64)
        self.scale = np.exp2(sketch.exponent.cpu().numpy().astype(np.float64))
        self.admits = sketch.events.admits.cpu().numpy().reshape(len(self.maximum), 2, LANES)
        self.full = self.admits < np.iinfo(np.int32).max
        heads = np.arange(2 * len(self.maximum) + 1)
        self._sort_events()
        self._event_cuts = np.searchsorted(self.state["events.head"], heads)
        self._top_cuts = np.searchsorted(self.state["tops.head"], heads[::2])
        self.bin = {kept: self._bins(kept) for kept in ("events", "tops")}
        kept = self.state["events.token"], self.state["tops.token"]
        self.documents = {k: self.document(t) for k, t in zip(("events", "tops"), kept, strict=True)}
        # Bits of bfloat16 that are not negative are ordered as their values are.
        peaks = np.append(self.state["events.windows"].max(axis=1, initial=0), 0)
        self.peak = peaks[self.state["events.slot"]]

    def _sort_events(self) -> None:
        """Put events into the order of priority within their unit and side, whatever their intervals."""
        order = np.lexsort([self.state[f"events.{name}"] for name in ("token", "priority", "head")])
        self.state |= {f"events.{name}": self.state[f"events.{name}"][order] for name in Kept._fields}

    def _bins(self, kept: str) -> np.ndarray:
        """The bin of each kept event; that of silent ones is 0."""
        maximum = self.maximum[self.state[f"{kept}.head"] // 2]
        fraction = self.state[f"{kept}.activation"] / np.maximum(maximum, 1e-300)
        return np.asarray(np.ceil(fraction * self.bins).astype(int).clip(0, self.bins))

    def document(self, token: np.ndarray) -> np.ndarray:
        """Document numbers of corpus ordinals."""
        offsets = self.corpus.contexts["offset"]
        return np.asarray(self.corpus.contexts["document"][np.searchsorted(offsets, token, side="right") - 1])

    def window(self, kept: str, i: int) -> np.ndarray:
        """Activations over a kept event's window, as far as its context goes."""
        slot, length = self.state[f"{kept}.slot"][i], self.state[f"{kept}.length"][i]
        if slot < 0:
            return np.zeros(length, dtype=np.float32)
        return _bfloat16(self.state[f"{kept}.windows"][slot, :length])

    def counts(self, unit: int, parts: int) -> np.ndarray:
        """Events in each of `parts` equal parts of (0, max]; cells that straddle an edge are split in proportion."""
        histogram = self.state["histogram"][unit, 1:]
        if self.maximum[unit] == 0:
            return np.zeros(parts, dtype=np.int64)
        edges = np.arange(parts + 1) / parts * self.maximum[unit] / self.scale[unit] * CELLS
        cumulative = np.interp(edges, np.arange(CELLS + 1), np.concatenate([[0], np.cumsum(histogram)]))
        cumulative[-1] = histogram.sum()
        counts: np.ndarray = np.diff(np.rint(cumulative)).astype(np.int64)
        return counts

    def events(self, unit: int, side: int) -> slice:
        """A unit's kept events on one side, in order of priority."""
        first, last = self._event_cuts[2 * unit + side : 2 * unit + side + 2]
        return slice(int(first), int(last))

    def fair(self, unit: int, side: int, bin_: int) -> np.ndarray:
        """Events of one bin that form a uniform sample of it, lowest priority first."""
        found, lanes = self.events(unit, side), self._lanes(unit, bin_)
        full = self.full[unit, side, lanes]
        limit = self.admits[unit, side, lanes][full].min() if full.any() else np.iinfo(np.int32).max
        inside = (self.bin["events"][found] == bin_) & (self.state["events.priority"][found] <= limit)
        return np.asarray(found.start + np.flatnonzero(inside))

    def _lanes(self, unit: int, bin_: int) -> np.ndarray:
        """Lanes in which events of the bin lie. One that the bin only touches, with nothing in the part that is the bin's, is none."""
        if not bin_:
            return np.zeros(1, dtype=int)
        edges = np.array([bin_ - 1, bin_]) / self.bins * self.maximum[unit] / self.scale[unit] * CELLS
        first, last = int(np.floor(edges[0] - 1e-6).clip(0)), int(np.ceil(edges[1] + 1e-6))
        occupied = (first + np.flatnonzero(self.state["histogram"][unit, 1 + first : 1 + last])) // (CELLS // INTERVALS)
        return np.asarray(occupied[np.diff(occupied, prepend=-1) > 0] + 1)

    def tops(self, unit: int, side: int | None = None) -> np.ndarray:
        """Indices of a unit's top exemplars, strongest first; of both sides when none is given."""
        index = np.arange(self._top_cuts[unit], self._top_cuts[unit + 1])
        if side is not None:
            index = index[self.state["tops.head"][index] % 2 == side]
        return index[np.lexsort((self.state["tops.token"][index], -self.state["tops.activation"][index]))]

    def n_documents(self, unit: int) -> tuple[int, int]:
        """Distinct documents, explaining and judging side, among a unit's kept events with positive activation."""
        kept = [self.events(unit, side) for side in (EXPLAIN, JUDGE)]
        explaining, judging = (set(self.documents["events"][found][self.bin["events"][found] > 0]) for found in kept)
        return len(explaining), len(judging)


def select(reader: SketchReader, unit: int, want: Selection) -> Iterator[Row]:
    """Choose a unit's exemplars, each event for one role only."""
    taken: set[int] = set()

    def row(role: str, kept: str, i: int, bin_: int, probability: float | None) -> Iterator[Row]:
        token = int(reader.state[f"{kept}.token"][i])
        if token not in taken:
            taken.add(token)
            start, activation = int(reader.state[f"{kept}.start"][i]), float(reader.state[f"{kept}.activation"][i])
            yield Row(unit, role, token, start, activation, bin_, probability, reader.window(kept, i))

    counts = reader.counts(unit, want.bins)
    for bin_ in range(1, want.bins + 1):
        chosen = reader.fair(unit, JUDGE, bin_)[: want.per_bin]
        for i in chosen:
            yield from row("score", "events", i, bin_, len(chosen) / max(counts[bin_ - 1], len(chosen)))
    for role, side, n in (("quiet", JUDGE, want.quiet), ("explain_quiet", EXPLAIN, want.explain_quiet)):
        for i in _quietest(reader, reader.fair(unit, side, 0), n):
            yield from row(role, "events", i, 0, None)
    documents: set[int] = set()
    for i in _one_a_document(reader, "tops", reader.tops(unit, EXPLAIN), documents, want.top):
        yield from row("explain_top", "tops", i, int(reader.bin["tops"][i]), None)
    for i in _one_a_document(reader, "events", _spread(reader, unit, want), documents, want.spread):
        yield from row("explain_spread", "events", i, int(reader.bin["events"][i]), None)
    for i in reader.tops(unit)[: want.shown_top]:
        yield from row("top", "tops", i, int(reader.bin["tops"][i]), None)


def tables(
    sketch: Sketch,
    corpus: Corpus,
    units: tuple[UnitKey, ...],
    hook_points: dict[str, str],
    want: Selection,
    texts: Callable[[np.ndarray], list[str]],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The harvest's outcome: a row a unit, and a row an exemplar.

    `hook_points` maps a kind to where it was read; `texts` turns token ids into one string a token.
    """
    reader = SketchReader(sketch, corpus, want.bins)
    unit_rows, exemplar_rows = [], []
    for number, key in enumerate(units):
        unit_rows.append(_unit_row(reader, number, key, hook_points[key.kind], want))
        exemplar_rows += [_exemplar_row(reader, key, row, texts) for row in select(reader, number, want)]
    columns = None if exemplar_rows else EXEMPLAR_COLUMNS
    return pd.DataFrame(unit_rows), pd.DataFrame(exemplar_rows, columns=columns)


EXEMPLAR_COLUMNS = [
    "exemplar_id", "unit_id", "role", "document", "position", "activation", "activation_fraction", "bin",
    "inclusion_probability", "mark", "tokens", "token_activations",
]  # fmt: skip


def _unit_row(reader: SketchReader, unit: int, key: UnitKey, hook_point: str, want: Selection) -> dict[str, Any]:
    active = int(reader.state["histogram"][unit, 1:].sum())
    explaining, judging = reader.n_documents(unit)
    few = explaining + judging < want.min_documents or min(explaining, judging) < 2
    return {
        "unit_id": key.unit_id,
        **asdict(key),
        "hook_point": hook_point,
        "max_activation": float(reader.maximum[unit]),
        "density": active / max(int(reader.state["n_counted"]), 1),
        "status": "dead" if not active else "barely_active" if few else "alive",
        "n_events": active,
        "bin_events": reader.counts(unit, want.bins).tolist(),
        "histogram": reader.counts(unit, HISTOGRAM_BINS).tolist(),
    }


def _exemplar_row(
    reader: SketchReader, key: UnitKey, row: Row, texts: Callable[[np.ndarray], list[str]]
) -> dict[str, Any]:
    contexts = reader.corpus.contexts
    context = contexts[np.searchsorted(contexts["offset"], row.token, side="right") - 1]
    length = len(row.window)
    first = row.token - row.start
    document, position = int(context["document"]), int(context["position"] + row.token - context["offset"])
    maximum = float(reader.maximum[row.unit])
    tokens = texts(np.asarray(reader.corpus.tokens[first : first + length]))
    heat = row.window.astype(np.float64)
    heat[row.start] = row.activation
    mark = carry_to_whole_characters(tokens, heat, row.start)
    return {
        "exemplar_id": f"{key.unit_id}@{document}.{position}",
        "unit_id": key.unit_id,
        "role": row.role,
        "document": document,
        "position": position,
        "activation": row.activation,
        "activation_fraction": row.activation / maximum if maximum else 0.0,
        "bin": row.bin,
        "inclusion_probability": row.probability,
        "mark": mark,
        "tokens": tokens,
        "token_activations": heat.tolist(),
    }


def carry_to_whole_characters(tokens: list[str], heat: np.ndarray, mark: int) -> int:
    """Let the token that completes a character stand for those before it, whose own text is empty. Returns the mark's place."""
    for i in range(len(tokens) - 1):
        if not tokens[i]:
            heat[i + 1] = max(heat[i], heat[i + 1])
    while not tokens[mark] and mark + 1 < len(tokens):
        mark += 1
    return mark


def _quietest(reader: SketchReader, index: np.ndarray, n: int) -> np.ndarray:
    """Silent windows: those silent throughout in order of priority, then those with the least activity around the mark.

    Half of all tokens activate one sign of a gated MLP's neuron, so no window of its is silent throughout.
    """
    return np.asarray(index[np.argsort(reader.peak[index], kind="stable")][:n])


def _spread(reader: SketchReader, unit: int, want: Selection) -> Iterator[int]:
    """Explaining-side events round by round over the bins, from the top one down."""
    lists = [list(reader.fair(unit, EXPLAIN, bin_)) for bin_ in range(want.bins, 0, -1)]
    for turn in range(max((len(found) for found in lists), default=0)):
        yield from (found[turn] for found in lists if turn < len(found))


def _one_a_document(reader: SketchReader, kept: str, index: Any, documents: set[int], n: int) -> Iterator[int]:
    for i in index:
        document = int(reader.documents[kept][i])
        if n and document not in documents:
            documents.add(document)
            n -= 1
            yield i


def _bfloat16(bits: np.ndarray) -> np.ndarray:
    """bfloat16 values stored as int16, as float32."""
    return (bits.astype(np.uint16).astype(np.uint32) << 16).view(np.float32)
