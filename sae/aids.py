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
import torch

from sae.corpus import Corpus
from sae.exemplars import EXEMPLAR_COLUMNS, carry_to_whole_characters
from sae.harvest import UnitKey, UnitReader
from sae.probing import Seen, read_contexts
from sae.sketch import EXPLAIN, sides

TOKENS = 32_768
"""Tokens that are read at most, for all units together."""
MOST_CONTEXTS = 4096
"""Contexts of the explaining side, drawn by the seed, among which those to read are chosen."""
KEPT = 24
"""Windows of each sort and unit that are held at most while reading."""
_VALUES = 1 << 26
"""Activations that are held at once."""
_EXPLAINING = ("explain_top", "explain_spread", "explain_quiet")
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

    contrast: list[_Place] = field(default_factory=list)
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
    rows = _explaining_contexts(corpus, reading.seed)
    words, documents = _words(corpus, units, exemplars)
    asked = want.contrast or want.held
    budget = TOKENS // 2 if asked and want.neighbours else TOKENS
    chosen = _holding(corpus, rows, words, budget, 2 * (want.contrast + want.held)) if asked else []
    if want.neighbours:
        chosen = [*chosen, *_drawn(corpus, rows, set(chosen), budget)]
    pools = [_Pool() for _ in units]
    for row, seen in _read(reader, corpus, chosen, reading):
        _look(pools, row, seen, near, words, maximum, reading)
    found = [
        _row(corpus, texts, units[u], role, place, maximum[u], reading)
        for u, pool in enumerate(pools)
        for role, place in _pick(pool, near[u], want, set(documents[u]), corpus)
    ]
    # A character of several tokens stands at its last, which may fire where an earlier one is silent.
    sound = [row for row in found if bool(row["activation"]) == bool(row["token_activations"][row["mark"]])]
    return pd.DataFrame(sound, columns=EXEMPLAR_COLUMNS)


def _explaining_contexts(corpus: Corpus, seed: int) -> npt.NDArray[np.int64]:
    """Contexts of the explaining side, in a seeded order."""
    document = torch.from_numpy(corpus.contexts["document"].astype(np.int64))
    explaining = np.flatnonzero(sides(document, seed).numpy() == EXPLAIN)
    return np.random.default_rng([seed, 11]).permutation(explaining)[:MOST_CONTEXTS]


def _words(
    corpus: Corpus, units: Sequence[UnitKey], exemplars: pd.DataFrame
) -> tuple[list[npt.NDArray[np.uint32]], list[set[int]]]:
    """The marked tokens of each unit's windows that an explainer is shown, commonest first, and the documents of all of those."""
    shown = exemplars.loc[exemplars["role"].isin(_EXPLAINING)]
    contexts = corpus.contexts
    order = np.lexsort((contexts["position"], contexts["document"]))
    starts = contexts["document"][order] * (1 << 32) + contexts["position"][order]
    wanted = shown["document"].to_numpy(np.int64) * (1 << 32) + shown["position"].to_numpy(np.int64)
    place = order[np.searchsorted(starts, wanted, side="right") - 1]
    token = contexts["offset"][place] + shown["position"].to_numpy(np.int64) - contexts["position"][place]
    ids = np.asarray(corpus.tokens[token])
    by_unit = shown.assign(_id=ids).groupby("unit_id")
    words, documents = [], []
    for unit in units:
        mine = by_unit.get_group(unit.unit_id) if unit.unit_id in by_unit.groups else shown.iloc[:0].assign(_id=[])
        marked, counts = np.unique(
            mine.loc[mine["role"] != "explain_quiet", "_id"].to_numpy(np.uint32), return_counts=True
        )
        words.append(marked[np.argsort(-counts, kind="stable")])
        documents.append({int(d) for d in mine["document"]})
    return words, documents


def _holding(
    corpus: Corpus, rows: npt.NDArray[np.int64], words: Sequence[npt.NDArray[np.uint32]], budget: int, turns: int
) -> list[int]:
    """Contexts that hold the units' words, of at most `budget` tokens: in turn one for each unit, its words in turn.

    A context serves all units whose words it holds.
    """
    wanted = np.unique(np.concatenate([*words, np.zeros(0, np.uint32)]))
    holding: dict[int, list[int]] = defaultdict(list)
    for row in rows.tolist():
        offset, length = int(corpus.contexts["offset"][row]), int(corpus.contexts["length"][row])
        for token in np.intersect1d(corpus.tokens[offset : offset + length], wanted).tolist():
            holding[token].append(row)
    chosen: dict[int, None] = {}
    taken: dict[tuple[int, int], int] = defaultdict(int)
    for turn in range(turns):
        for number, mine in enumerate(words):
            if not len(mine):
                continue
            word = int(mine[turn % len(mine)])
            place = taken[number, word]
            if place >= len(holding[word]):
                continue
            taken[number, word] += 1
            row = holding[word][place]
            length = int(corpus.contexts["length"][row])
            if row not in chosen and length <= budget:
                chosen[row] = None
                budget -= length
    return list(chosen)


def _drawn(corpus: Corpus, rows: npt.NDArray[np.int64], known: set[int], budget: int) -> Iterator[int]:
    for row in rows.tolist():
        budget -= int(corpus.contexts["length"][row])
        if budget < 0:
            return
        if row not in known:
            yield row


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
            _keep(pool.contrast, _place(seen, mine, row, mark, reading))
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
    pool: _Pool, near: Sequence[int], want: Aids, documents: set[int], corpus: Corpus
) -> Iterator[tuple[str, _Place]]:
    """The places that are taken, each of a document of its own. Those for tests come first: without them there is nothing to test on."""

    def take(places: Iterable[_Place], n: int) -> Iterator[_Place]:
        for place in places:
            document = int(corpus.contexts["document"][place.row])
            if n > 0 and document not in documents:
                documents.add(document)
                n -= 1
                yield place

    contrast = sorted(pool.contrast, key=lambda place: place.order)
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
    tokens, heat = texts(place.ids), place.activations.astype(np.float64)
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
