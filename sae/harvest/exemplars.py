"""From a finished sketch to exemplars: each unit's windows are chosen and turned into text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sae.corpus.corpus import Corpus
from sae.harvest.bottom_k import HIGHEST, LOWEST
from sae.harvest.columns import COUNTED, EXEMPLAR_COLUMNS, HISTOGRAM_BINS, ExemplarRow, UnitRow
from sae.harvest.judged_sample import KnownEvents, judged_sample
from sae.harvest.shown_texts import ShownTexts, repeats
from sae.harvest.silent_windows import alike
from sae.harvest.sketch import Sketch
from sae.harvest.sketch_reader import SampleName, SketchReader
from sae.harvest.token_positions import EXPLAIN, JUDGE, RING_SIZE, hash32
from sae.harvest.units import UnitKey

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


def select(reader: SketchReader, unit: int, selection: Selection) -> Iterator[ChosenEvent]:
    """Choose a unit's exemplars, each event for one role only and no text twice."""
    shown = ShownTexts(reader.text)

    def first_new(
        n: int, sample: SampleName, index: Iterable[int], documents: set[int] | None = None
    ) -> Iterator[tuple[SampleName, int]]:
        """The first `n` events whose text was not shown, and that lie in none of `documents`, which grows."""
        for i in index:
            document = int(reader.documents[sample][i])
            if n and not (documents and document in documents) and shown.add(int(reader.state[f"{sample}.token"][i])):
                if documents is not None:
                    documents.add(document)
                n -= 1
                yield sample, i

    def event(role: str, sample: SampleName, i: int, bin_: int, probability: float | None = None) -> ChosenEvent:
        token, start = (int(reader.state[f"{sample}.{name}"][i]) for name in ("token", "start"))
        activation = float(reader.state[f"{sample}.activation"][i])
        return ChosenEvent(unit, role, token, start, activation, bin_, probability, reader.window(sample, i))

    judged, probabilities = _judged(reader, unit, selection.per_bin)
    for i, probability in zip(judged, probabilities, strict=True):
        shown.show(int(reader.state["events.token"][i]))
        yield event("score", "events", i, reader.bin_at("events", i), float(probability))
    # One judged window a bin is the model, so that a larger sample has the same silent windows.
    models = judged[np.unique(reader.bin["events"][judged], return_index=True)[1]]
    for role, split, n in (("quiet", JUDGE, selection.silent), ("explain_quiet", EXPLAIN, selection.explain_silent)):
        silent = reader.early_events(unit, split, 0)
        apart = Apart(reader, judged if split == JUDGE else judged[:0])

        def is_new(k: int, silent: np.ndarray = silent, apart: Apart = apart) -> bool:
            return apart.may_add(silent[k]) and shown.add(int(reader.state["events.token"][silent[k]]))

        for k in alike(reader.shapes(models), reader.shapes(silent), reader.peak[silent], n, is_new):
            apart.add(silent[k])
            yield event(role, "events", silent[k], 0)
    documents: set[int] = set()
    explained = list(first_new(selection.top, "tops", reader.top_events(unit, EXPLAIN), documents))
    for at in explained:
        yield event("explain_top", *at, reader.bin_at(*at))
    for at in first_new(selection.spread, "events", _spread(reader, unit, selection), documents):
        yield event("explain_spread", *at, reader.bin_at(*at))
    for at in first_new(max(0, selection.shown_top - len(explained)), "tops", reader.top_events(unit)):
        yield event("top", *at, reader.bin_at(*at))


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
    active = int(reader.histogram[unit].sum())
    explaining, judging = reader.n_documents(unit, selection.min_documents)
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
        "judging_bin_events": reader.bin_counts(unit, selection.bins, JUDGE).tolist(),
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
    low, high = reader.rarity(event.unit, event.activation)
    mark = move_to_whole_characters(tokens, activations, counted, event.start)
    return {
        "exemplar_id": f"{key.unit_id}@{document}.{position}",
        "unit_id": key.unit_id,
        "role": event.role,
        "document": document,
        "position": position,
        "turn": reader.corpus.turn_at(event.token),
        "activation": event.activation,
        "activation_fraction": event.activation / maximum if maximum else 0.0,
        "bin": event.bin,
        "inclusion_probability": event.probability,
        "rarity_low": low,
        "rarity_high": high,
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


def _judged(reader: SketchReader, unit: int, per_bin: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of a unit's judged events, and the probability of each."""
    found = [reader.known_events(unit, JUDGE, bin_) for bin_ in range(1, reader.bins + 1)]
    index, limit = (np.concatenate(parts).astype(np.int64) for parts in zip(*found, strict=True))
    complete = np.array([False, *(reader.knows_all_documents(unit, JUDGE, b) for b in range(1, reader.bins + 1))])
    first, end = reader.window_range(index)
    priority = reader.state["events.priority"][index].astype(np.int64)
    known = KnownEvents(
        bin=reader.bin["events"][index],
        document=reader.documents["events"][index],
        first=first,
        end=end,
        priority=(priority - LOWEST) / RING_SIZE,
        limit=np.where(limit < HIGHEST, (limit - LOWEST) / RING_SIZE, 1.0),
        may_repeat=complete[reader.bin["events"][index]],
        same_text=repeats(reader.text, reader.state["events.token"][index].tolist()),
    )
    rng = np.random.default_rng([reader.seed, hash32(reader.unit_ids[unit]) % RING_SIZE])
    chosen, probabilities = judged_sample(known, per_bin, rng)
    return index[chosen], probabilities


class Apart:
    """Events whose windows do not overlap, beginning with the events `taken`."""

    def __init__(self, reader: SketchReader, taken: np.ndarray) -> None:
        self._reader = reader
        self._first, self._end = (list(ordinals) for ordinals in reader.window_range(taken))

    def may_add(self, i: int) -> bool:
        """Whether an event's window overlaps none of the others."""
        first, end = (int(ordinals[0]) for ordinals in self._reader.window_range(np.array([i])))
        return not any(first < e and f < end for f, e in zip(self._first, self._end, strict=True))

    def add(self, i: int) -> None:
        """Add an event."""
        first, end = (int(ordinals[0]) for ordinals in self._reader.window_range(np.array([i])))
        self._first.append(first)
        self._end.append(end)


def _spread(reader: SketchReader, unit: int, selection: Selection) -> Iterator[int]:
    """Explaining events, one from each bin in turn, from the top bin down."""
    lists = [list(reader.early_events(unit, EXPLAIN, bin_)) for bin_ in range(selection.bins, 0, -1)]
    for turn in range(max((len(events) for events in lists), default=0)):
        yield from (events[turn] for events in lists if turn < len(events))
