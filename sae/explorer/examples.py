"""The examples of units, chosen from a finished sketch: the strongest, and a fair sample of each bin; no text twice.

The strongest are at most one from a context. Those of a bin are its events of lowest priority, of as many documents as there are. All
documents of a bin are known up to a priority, so the events up to there are a fair sample. Units are worked on together, `CHUNK` at a
time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from sae.corpus.corpus import Corpus
from sae.explorer.same_texts import alike, first_unlike, places
from sae.explorer.statistics import priority_limits
from sae.explorer.token_strings import TokenStrings
from sae.harvest.bins import bin_of
from sae.harvest.exemplars import move_to_whole_characters
from sae.harvest.sketch import STRATA, Sketch

CHUNK = 4096
_CANDIDATES = 3
"""Events of a bin that are looked at, as a multiple of those that are shown: some read like others."""

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Choice:
    """How many examples are shown: the `top` strongest, and `per_bin` of each of `bins` equal parts of (0, maximum]."""

    bins: int = 10
    top: int = 20
    per_bin: int = 5


@dataclass(frozen=True)
class Examples:
    """Examples of the units from number `first` up to `end`, as columns (n,), in the order of the unit, the bin (0, then the highest bin
    down to 1) and the rank.

    `mark` is an index in the window, `position` that of the mark in its document. The windows stand one after another: `length` (n,) of
    each, and of each of their tokens the number of its string among `TokenStrings.strings`, and the unit's activation.
    """

    first: int
    end: int
    unit: Numbers
    bin: Numbers
    rank: Numbers
    activation: NDArray[np.float32]
    document: Numbers
    position: Numbers
    mark: Numbers
    length: Numbers
    strings: NDArray[np.int32]
    activations: NDArray[np.float32]


@dataclass(frozen=True)
class _Events:
    """Sampled events as columns (n,), and the bits of their windows' activations (n, width) in bfloat16."""

    unit: Numbers
    token: Numbers
    priority: Numbers
    activation: NDArray[np.float32]
    start: Numbers
    length: Numbers
    windows: _Windows
    level: Numbers
    """0 for the strongest, 1 for the highest bin, and so on down."""

    def take(self, index: Numbers | NDArray[np.bool_] | slice) -> _Events:
        return _Events(**{field.name: getattr(self, field.name)[index] for field in fields(self)})


@dataclass(frozen=True)
class _Windows:
    """Windows of some events: `rows` of `bits`; row -1 is a window without activation."""

    bits: NDArray[np.int16]
    rows: Numbers

    def __getitem__(self, index: Numbers | NDArray[np.bool_] | slice) -> _Windows:
        return replace(self, rows=self.rows[index])

    def values(self) -> NDArray[np.float32]:
        bits = np.zeros((len(self.rows), self.bits.shape[1]), dtype=np.uint32)
        active = self.rows >= 0
        bits[active] = self.bits[self.rows[active]].astype(np.uint16)
        return (bits << 16).view(np.float32)


def examples(sketch: Sketch, corpus: Corpus, choice: Choice, strings: TokenStrings) -> Iterator[Examples]:
    """The examples of all units of a finished sketch whose documents are all on one side, some units at a time."""
    state = Sketch.state(sketch)
    maximum, cells = state["maximum"], state["histogram"][:, 0, 1:]
    threshold = sketch.events.priority_threshold.cpu().numpy().reshape(len(maximum), 2, STRATA)[:, 0, 1:]
    tops, events = _events(state, "tops"), _events(state, "events")
    for first in range(0, len(maximum), CHUNK):
        end = min(first + CHUNK, len(maximum))
        own = slice(first, end)
        limits = priority_limits(cells[own], maximum[own], threshold[own], choice.bins)
        strongest = _strongest(_of_units(tops, first, end))
        sampled = _sampled(_of_units(events, first, end), corpus, maximum, limits, first, choice)
        yield _shown(strongest, sampled, first, end, corpus, choice, strings)


def _events(state: dict[str, np.ndarray], name: str) -> _Events:
    token, priority, start, length = (
        state[f"{name}.{field}"].astype(np.int64) for field in ("token", "priority", "start", "length")
    )
    unit = state[f"{name}.head"].astype(np.int64) >> 1
    windows = _Windows(state[f"{name}.windows"], state[f"{name}.slot"].astype(np.int64))
    activation = state[f"{name}.activation"]
    return _Events(unit, token, priority, activation, start, length, windows, np.zeros_like(unit))


def _of_units(events: _Events, first: int, end: int) -> _Events:
    return events.take(slice(*np.searchsorted(events.unit, [first, end]).tolist()))


def _strongest(events: _Events) -> _Events:
    return events.take(np.lexsort((events.token, -events.activation, events.unit)))


def _sampled(
    events: _Events, corpus: Corpus, maximum: np.ndarray, limits: np.ndarray, first: int, choice: Choice
) -> _Events:
    """The first events of each unit and bin in the order in which they are shown: those of other documents come before further ones of
    the same."""
    bin_ = bin_of(events.activation, maximum[events.unit], choice.bins)
    events = replace(events, level=choice.bins - bin_ + 1)
    events = events.take(events.priority <= limits[events.unit - first, bin_ - 1])
    document, _ = _documents(corpus, events.token)
    group = events.unit * (choice.bins + 1) + events.level
    order = np.lexsort((events.token, events.priority, document, group))
    in_document = np.empty_like(order)
    in_document[order] = places(document[order], group[order])
    order = np.lexsort((events.token, events.priority, in_document, group))
    return events.take(order[places(group[order]) < _CANDIDATES * choice.per_bin])


def _shown(
    strongest: _Events, sampled: _Events, first: int, end: int, corpus: Corpus, choice: Choice, strings: TokenStrings
) -> Examples:
    n = len(strongest.unit)
    unit = np.concatenate([strongest.unit, sampled.unit])
    token = np.concatenate([strongest.token, sampled.token])
    level = np.concatenate([strongest.level, sampled.level])
    order = np.lexsort((np.arange(len(unit)), level, unit))
    quota = np.array([choice.top, *[choice.per_bin] * choice.bins])
    chosen = first_unlike(alike(corpus, token[order], unit[order]), unit[order], level[order], quota)
    index = order[chosen]
    unit, token, level = unit[index], token[index], level[index]

    def column(name: str) -> np.ndarray:
        return np.concatenate([getattr(strongest, name), getattr(sampled, name)])[index]

    values = np.empty((len(index), strongest.windows.bits.shape[1]), dtype=np.float32)
    is_top = index < n
    values[is_top] = strongest.windows[index[is_top]].values()
    values[~is_top] = sampled.windows[index[~is_top] - n].values()
    mark, length, activation = column("start"), column("length"), column("activation")
    values[np.arange(len(index)), mark] = activation  # the event's own in float32, where the window has bfloat16
    values += 0.0  # a harvest may leave -0.0 at silent tokens
    place = np.arange(values.shape[1])
    within = place < length[:, None]
    at = np.minimum((token - mark)[:, None] + place, len(corpus.tokens) - 1)[within]
    ids, activations = np.asarray(corpus.tokens)[at], values[within]
    document, position = _documents(corpus, token)
    codes, moved = _whole_characters(ids, activations, mark, length, strings)
    return Examples(
        first=first,
        end=end,
        unit=unit,
        bin=np.where(level > 0, choice.bins - level + 1, 0),
        rank=places(level, unit),
        activation=activation,
        document=document,
        position=position + moved - mark,
        mark=moved,
        length=length,
        strings=codes,
        activations=activations,
    )


def _documents(corpus: Corpus, token: Numbers) -> tuple[Numbers, Numbers]:
    """The document of each token, and its position there, given its ordinal in the corpus."""
    starts = np.asarray(corpus.contexts["offset"])
    context = corpus.contexts[np.searchsorted(starts, token, side="right") - 1]
    return context["document"].astype(np.int64), context["position"].astype(np.int64) + token - context["offset"]


def _whole_characters(
    ids: np.ndarray, activations: np.ndarray, mark: Numbers, length: Numbers, strings: TokenStrings
) -> tuple[NDArray[np.int32], Numbers]:
    """The numbers of the tokens' strings, and the marks, moved to the tokens that complete a character. So are activations, in place."""
    codes, mark, ends = strings.codes(ids), mark.copy(), np.cumsum(length)
    unfinished = np.flatnonzero(codes < 0)
    for number in np.unique(np.searchsorted(ends, unfinished, side="right")).tolist():
        window = slice(int(ends[number] - length[number]), int(ends[number]))
        texts = strings.window(ids[window])
        counted = np.ones(len(texts), dtype=bool)
        mark[number] = move_to_whole_characters(texts, activations[window], counted, int(mark[number]))
        codes[window] = [strings.code(text) for text in texts]
    return codes, mark
