"""Windows that help an explainer beyond a unit's own: its words where it is silent, and places where its neighbours fire and it does not.

A harvest keeps windows of a unit's activations, not what it did at any other place. So a few more contexts are read, once for all
units: some that hold the words of their windows, some drawn at random. Only documents of the explaining side are, and of a unit's
windows no two come from one document, nor from one that its exemplars came from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from sae.analysis.context_search import drawn, explaining, holding, words_of
from sae.analysis.unit_probe import Seen, read_contexts
from sae.corpus.corpus import Corpus
from sae.harvest.exemplars import EXEMPLAR_COLUMNS, carry_to_whole_characters
from sae.harvest.harvest import UnitReader
from sae.harvest.units import UnitKey

TOKENS = 32_768
"""Tokens that are read at most, for all units together."""
KEPT = 24
"""Windows of each sort and unit that are held at most while reading."""
_VALUES = 1 << 26
"""Activations that are held at once."""
CONTRAST, NEIGHBOUR, HELD = "contrast", "neighbour", "held"
"""Roles: the unit's words where it is silent; a neighbour's place where it is; and windows to test an explanation on."""


@dataclass(frozen=True)
class Aids:
    """How many windows a unit gets of each role; `held` are half active ones and half silent ones."""

    contrast: int
    neighbours: int
    held: int


@dataclass(frozen=True)
class Reading:
    """How contexts are read and windows are cut: the harvest's own settings."""

    window: int
    bins: int
    skip_positions: int
    norm_limit: float
    seed: int


class _Place(NamedTuple):
    """A token that a window may be cut around, with that window; those that sort first are wanted most.

    `mark` is the token's place in its context, `start` that of the window's first.
    """

    order: tuple[float, ...]
    row: int
    mark: int
    start: int
    ids: npt.NDArray[np.uint32]
    activations: npt.NDArray[np.float32]


@dataclass
class _Pool:
    """The places found for one unit."""

    contrast: dict[int, list[_Place]] = field(default_factory=lambda: defaultdict(list))
    neighbour: dict[int, list[_Place]] = field(default_factory=lambda: defaultdict(list))
    active: dict[int, list[_Place]] = field(default_factory=lambda: defaultdict(list))
    silent: list[_Place] = field(default_factory=list)


def windows(
    reader: UnitReader,
    corpus: Corpus,
    texts: Callable[[np.ndarray], list[str]],
    near: Sequence[Sequence[int]],
    maximum: Sequence[float],
    exemplars: pd.DataFrame,
    want: Aids,
    reading: Reading,
) -> pd.DataFrame:
    """The windows found for the reader's first `len(near)` units, in the columns of a harvest's exemplars.

    `near` are each unit's neighbours as numbers among the reader's units, nearest first; `maximum` its largest activation;
    `exemplars` those of the harvest. There may be fewer windows than wanted: a unit that fires at all its words has no contrast.
    """
    units = reader.units[: len(near)]
    rows = explaining(corpus, reading.seed)
    words, documents = words_of(corpus, units, exemplars)
    asked = want.contrast or want.held
    budget = TOKENS // 2 if asked and want.neighbours else TOKENS
    chosen = holding(corpus, rows, words, budget, 2 * (want.contrast + want.held)) if asked else []
    if want.neighbours:
        chosen = [*chosen, *drawn(corpus, rows, set(chosen), budget)]
    pools = [_Pool() for _ in units]
    for row, seen in _read(reader, corpus, chosen, reading):
        _look(pools, row, seen, near, words, maximum, reading)
    found = [
        _row(corpus, texts, units[u], role, place, maximum[u], reading)
        for u, pool in enumerate(pools)
        for role, place in _pick(pool, words[u].tolist(), near[u], want, set(documents[u]), corpus)
    ]
    # A character of several tokens stands at its last, which may fire where an earlier one is silent.
    sound = [row for row in found if bool(row["activation"]) == bool(row["token_activations"][row["mark"]])]
    return pd.DataFrame(sound, columns=EXEMPLAR_COLUMNS)


def _read(reader: UnitReader, corpus: Corpus, rows: Sequence[int], reading: Reading) -> Iterator[tuple[int, Seen]]:
    longest = max((int(n) for n in corpus.contexts["length"][list(rows)]), default=1)
    together = max(1, _VALUES // (len(reader.units) * max(longest, 1)))
    for start in range(0, len(rows), together):
        part = rows[start : start + together]
        found = read_contexts(
            reader, corpus, part, skip_positions=reading.skip_positions, norm_limit=reading.norm_limit
        )
        yield from zip(part, found, strict=True)


def _look(
    pools: Sequence[_Pool],
    row: int,
    seen: Seen,
    near: Sequence[Sequence[int]],
    words: Sequence[npt.NDArray[np.uint32]],
    maximum: Sequence[float],
    reading: Reading,
) -> None:
    """Put the places of one context into the pools of all units: one of each sort at most."""
    for number, pool in enumerate(pools):
        mine, draw = seen.activations[number], np.random.default_rng([reading.seed, number, row])
        silent = seen.counted & (mine == 0)
        for mark in _one_of(silent & np.isin(seen.ids, words[number]), draw):
            _keep(pool.contrast[int(seen.ids[mark])], _place(seen, mine, row, mark, reading))
        for mark in _one_of(silent, draw):
            _keep(pool.silent, _place(seen, mine, row, mark, reading))
        for mark in _one_of(seen.counted & (mine > 0), draw):
            bin_ = _bin(float(mine[mark]), maximum[number], reading.bins)
            _keep(pool.active[bin_], _place(seen, mine, row, mark, reading)._replace(order=(row,)))
        for other in near[number]:
            theirs = np.where(silent, seen.activations[other], 0)
            if theirs.any():
                mark = int(theirs.argmax())
                _keep(pool.neighbour[other], _place(seen, mine, row, mark, reading, -float(theirs[mark])))


def _one_of(marks: npt.NDArray[np.bool_], draw: np.random.Generator) -> Iterator[int]:
    where = np.flatnonzero(marks)
    if len(where):
        yield int(draw.choice(where))


def _place(seen: Seen, mine: npt.NDArray[np.float32], row: int, mark: int, reading: Reading, *order: float) -> _Place:
    """A place and its window, in which the mark's own place is drawn. Windows that are silent throughout come first."""
    size = min(reading.window, len(mine))
    start = int(np.clip(mark - (row * 7919 + mark * 104_729) % size, 0, len(mine) - size))
    heat = mine[start : start + size].copy()
    peak = float(heat.max())
    return _Place((peak > 0, *order, peak, row), row, mark, start, seen.ids[start : start + size].copy(), heat)


def _bin(activation: float, maximum: float, bins: int) -> int:
    return min(bins, int(np.ceil(activation / maximum * bins))) if maximum else 0


def _keep(kept: list[_Place], found: _Place) -> None:
    """Take in a place, and let the least wanted go once there are many."""
    kept.append(found)
    if len(kept) > 2 * KEPT:
        kept.sort(key=lambda place: place.order)
        del kept[KEPT:]


def _pick(
    pool: _Pool, words: Sequence[int], near: Sequence[int], want: Aids, documents: set[int], corpus: Corpus
) -> Iterator[tuple[str, _Place]]:
    """The places that are taken, each of a document of its own. Those for tests come first: without them there is nothing to test on."""

    def take(places: Iterable[_Place], n: int) -> Iterator[_Place]:
        for place in places:
            document = int(corpus.contexts["document"][place.row])
            if n > 0 and document not in documents:
                documents.add(document)
                n -= 1
                yield place

    contrast = list(_in_turn(pool.contrast[word] for word in words))
    for place in take(_in_turn(pool.active[b] for b in sorted(pool.active, reverse=True)), want.held // 2):
        yield HELD, place
    tested = contrast[want.contrast :: 2] + sorted(pool.silent, key=lambda place: place.order)
    for place in take(tested, want.held - want.held // 2):
        yield HELD, place
    for place in take(contrast, want.contrast):
        yield CONTRAST, place
    for place in take(_in_turn(pool.neighbour[other] for other in near), want.neighbours):
        yield NEIGHBOUR, place


def _in_turn(lists: Iterable[list[_Place]]) -> Iterator[_Place]:
    """The first of each list, then the second of each."""
    ordered = [sorted(places, key=lambda place: place.order) for places in lists]
    for turn in range(max(map(len, ordered), default=0)):
        yield from (places[turn] for places in ordered if turn < len(places))


def _row(
    corpus: Corpus,
    texts: Callable[[np.ndarray], list[str]],
    unit: UnitKey,
    role: str,
    place: _Place,
    maximum: float,
    reading: Reading,
) -> Mapping[str, Any]:
    context = corpus.contexts[place.row]
    document, position = int(context["document"]), int(context["position"]) + place.mark
    tokens, heat = texts(place.ids), place.activations.astype(np.float64) + 0.0  # no -0
    activation = float(heat[place.mark - place.start])
    return {
        "exemplar_id": f"{unit.unit_id}@{document}.{position}",
        "unit_id": unit.unit_id,
        "role": role,
        "document": document,
        "position": position,
        "activation": activation,
        "activation_fraction": activation / maximum if maximum else 0.0,
        "bin": _bin(activation, maximum, reading.bins),
        "inclusion_probability": None,
        "mark": carry_to_whole_characters(tokens, heat, place.mark - place.start),
        "tokens": tokens,
        "token_activations": heat.tolist(),
    }
