"""Windows that help an explainer beyond a unit's own: its words where it is silent, and tokens at which its neighbours are active and
it is not.

A harvest keeps windows of a unit's sampled events, not its activations elsewhere. So a few more contexts are read, once for all
units: some that contain the words of their windows, some at random. All are from documents of the explaining split, and no two
windows of a unit share a document with each other or with one of its exemplars.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from sae.analysis.context_search import contexts_of_split, contexts_with_words, first_contexts, words_of
from sae.analysis.unit_probe import ContextActivations, read_contexts
from sae.corpus.corpus import Corpus
from sae.harvest.bins import bin_of
from sae.harvest.columns import EXEMPLAR_COLUMNS, ExemplarRow
from sae.harvest.exemplars import TokenTexts, move_to_whole_characters
from sae.harvest.harvest import UnitReader
from sae.harvest.token_positions import EXPLAIN
from sae.harvest.units import UnitKey

T = TypeVar("T")
TOKENS = 32_768
"""Largest number of tokens that are read, for all units together."""
KEPT = 24
"""Largest number of candidates of each sort and unit that are kept while reading."""
_VALUES = 1 << 26
"""Activations in memory at once."""
CONTRAST, NEIGHBOUR, HELD = "contrast", "neighbour", "held"
"""Roles: the unit's words where it is silent; tokens at which a neighbour is active and the unit silent; and windows held out to test
an explanation on."""


@dataclass(frozen=True)
class WindowCounts:
    """The number of windows of each role per unit. Half of the `held` ones are active, half silent."""

    contrast: int
    neighbours: int
    held: int


@dataclass(frozen=True)
class WindowSettings:
    """The harvest's settings by which contexts are read and windows are cut."""

    window: int
    bins: int
    skip_positions: int
    norm_limit: float
    seed: int


class Candidate(NamedTuple):
    """A token that may be marked, with its window. Candidates that sort first by `order` are preferred.

    `mark` is the token's index in its context, `start` that of the window's first token.
    """

    order: tuple[float, ...]
    row: int
    mark: int
    start: int
    ids: npt.NDArray[np.uint32]
    activations: npt.NDArray[np.float32]
    counted: npt.NDArray[np.bool_]


@dataclass
class _Pool:
    """The candidates of one unit: contrasts by word, neighbours by their number, active ones by bin, and silent ones."""

    contrast: dict[int, list[Candidate]] = field(default_factory=lambda: defaultdict(list))
    neighbour: dict[int, list[Candidate]] = field(default_factory=lambda: defaultdict(list))
    active: dict[int, list[Candidate]] = field(default_factory=lambda: defaultdict(list))
    silent: list[Candidate] = field(default_factory=list)


def find_windows(
    reader: UnitReader,
    corpus: Corpus,
    texts: TokenTexts,
    near: Sequence[Sequence[int]],
    maximum: Sequence[float],
    exemplars: pd.DataFrame,
    counts: WindowCounts,
    settings: WindowSettings,
) -> pd.DataFrame:
    """Find windows for the reader's first `len(near)` units. Returns a table with the columns of a harvest's exemplars.

    `near` holds each unit's neighbours as numbers among the reader's units, nearest first; `maximum` its largest activation;
    `exemplars` those of the harvest. A unit may get fewer windows than asked for: one that is active at all its words has no contrast.
    """
    units = reader.units[: len(near)]
    rows = contexts_of_split(corpus, EXPLAIN, settings.seed)
    words, documents = words_of(corpus, units, exemplars)
    by_words = counts.contrast or counts.held
    budget = TOKENS // 2 if by_words and counts.neighbours else TOKENS
    turns = 2 * (counts.contrast + counts.held)
    chosen = contexts_with_words(corpus, rows, words, budget, turns) if by_words else []
    if counts.neighbours:
        chosen = [*chosen, *first_contexts(corpus, rows, set(chosen), budget)]
    pools = [_Pool() for _ in units]
    for row, context in read_in_parts(reader, corpus, chosen, settings):
        _add_candidates(pools, row, context, near, words, maximum, settings)
    found = [
        exemplar_row(corpus, texts, units[u], role, candidate, maximum[u], settings)
        for u, pool in enumerate(pools)
        for role, candidate in _choose(pool, words[u].tolist(), near[u], counts, set(documents[u]), corpus)
    ]
    return pd.DataFrame([row for row in found if is_consistent(row)], columns=EXEMPLAR_COLUMNS)


def read_in_parts(
    reader: UnitReader, corpus: Corpus, rows: Sequence[int], settings: WindowSettings
) -> Iterator[tuple[int, ContextActivations]]:
    """The rows of contexts with their activations, of which only a part is in memory at once."""
    longest = max((int(n) for n in corpus.contexts["length"][list(rows)]), default=1)
    together = max(1, _VALUES // max(1, len(reader.units) * longest))
    for start in range(0, len(rows), together):
        part = rows[start : start + together]
        contexts = read_contexts(
            reader, corpus, part, skip_positions=settings.skip_positions, norm_limit=settings.norm_limit
        )
        yield from zip(part, contexts, strict=True)


def _add_candidates(
    pools: Sequence[_Pool],
    row: int,
    context: ContextActivations,
    near: Sequence[Sequence[int]],
    words: Sequence[npt.NDArray[np.uint32]],
    maximum: Sequence[float],
    settings: WindowSettings,
) -> None:
    """Add candidates of one context to the pools of all units: at most one of each sort."""
    for unit, pool in enumerate(pools):
        own, rng = context.activations[unit], np.random.default_rng([settings.seed, unit, row])
        silent = context.counted & (own == 0)
        for mark in _one_of(silent & np.isin(context.ids, words[unit]), rng):
            _keep(pool.contrast[int(context.ids[mark])], cut_candidate(context, own, row, mark, settings))
        for mark in _one_of(silent, rng):
            _keep(pool.silent, cut_candidate(context, own, row, mark, settings))
        for mark in _one_of(context.counted & (own > 0), rng):
            bin_ = int(bin_of(float(own[mark]), maximum[unit], settings.bins))
            _keep(pool.active[bin_], cut_candidate(context, own, row, mark, settings)._replace(order=(row,)))
        for other in near[unit]:
            neighbour = np.where(silent, context.activations[other], 0)
            if neighbour.any():
                mark = int(neighbour.argmax())
                _keep(pool.neighbour[other], cut_candidate(context, own, row, mark, settings, -float(neighbour[mark])))


def _one_of(mask: npt.NDArray[np.bool_], rng: np.random.Generator) -> Iterator[int]:
    """One index drawn from a mask, or none if it is empty."""
    index = np.flatnonzero(mask)
    if len(index):
        yield int(rng.choice(index))


def cut_candidate(
    context: ContextActivations,
    own: npt.NDArray[np.float32],
    row: int,
    mark: int,
    settings: WindowSettings,
    *order: float,
) -> Candidate:
    """A candidate and its window, in which the mark's place is pseudo-random. Windows that are silent throughout sort first."""
    size = min(settings.window, len(own))
    start = int(np.clip(mark - (row * 7919 + mark * 104_729) % size, 0, len(own) - size))
    activations = own[start : start + size].copy()
    peak = float(activations.max())
    ids, counted = context.ids[start : start + size].copy(), context.counted[start : start + size].copy()
    return Candidate((peak > 0, *order, peak, row), row, mark, start, ids, activations, counted)


def _keep(candidates: list[Candidate], new: Candidate) -> None:
    """Add a candidate, and now and then drop all but the `KEPT` best."""
    candidates.append(new)
    if len(candidates) > 2 * KEPT:
        candidates.sort(key=lambda candidate: candidate.order)
        del candidates[KEPT:]


def _choose(
    pool: _Pool, words: Sequence[int], near: Sequence[int], counts: WindowCounts, documents: set[int], corpus: Corpus
) -> Iterator[tuple[str, Candidate]]:
    """Choose a unit's windows, each from a document of its own. Held-out ones come first, because a test needs them most."""

    def take(candidates: Iterable[Candidate], n: int) -> Iterator[Candidate]:
        for candidate in candidates:
            document = int(corpus.contexts["document"][candidate.row])
            if n > 0 and document not in documents:
                documents.add(document)
                n -= 1
                yield candidate

    contrast = list(_best_in_turn(pool.contrast[word] for word in words))
    active = _best_in_turn(pool.active[b] for b in sorted(pool.active, reverse=True))
    for candidate in take(active, counts.held // 2):
        yield HELD, candidate
    silent = contrast[counts.contrast :: 2] + sorted(pool.silent, key=lambda candidate: candidate.order)
    for candidate in take(silent, counts.held - counts.held // 2):
        yield HELD, candidate
    for candidate in take(contrast, counts.contrast):
        yield CONTRAST, candidate
    for candidate in take(_best_in_turn(pool.neighbour[other] for other in near), counts.neighbours):
        yield NEIGHBOUR, candidate


def _best_in_turn(lists: Iterable[list[Candidate]]) -> Iterator[Candidate]:
    """The best candidate of each list, then the second best of each, and so on."""
    yield from in_turn(sorted(candidates, key=lambda candidate: candidate.order) for candidates in lists)


def in_turn(lists: Iterable[Sequence[T]]) -> Iterator[T]:
    """The first of each list, then the second of each, and so on."""
    ordered = list(lists)
    for turn in range(max(map(len, ordered), default=0)):
        yield from (one[turn] for one in ordered if turn < len(one))


def exemplar_row(
    corpus: Corpus,
    texts: TokenTexts,
    unit: UnitKey,
    role: str,
    candidate: Candidate,
    maximum: float,
    settings: WindowSettings,
) -> ExemplarRow:
    """A candidate as an exemplar of a unit with a largest activation of `maximum`."""
    context = corpus.contexts[candidate.row]
    document, position = int(context["document"]), int(context["position"]) + candidate.mark
    tokens = texts(candidate.ids)
    activations = candidate.activations.astype(np.float64) + 0.0  # turns -0 into 0
    activation, counted = float(activations[candidate.mark - candidate.start]), candidate.counted
    return {
        "exemplar_id": f"{unit.unit_id}@{document}.{position}",
        "unit_id": unit.unit_id,
        "role": role,
        "document": document,
        "position": position,
        "turn": corpus.turn_at(int(context["offset"]) + candidate.mark),
        "activation": activation,
        "activation_fraction": activation / maximum if maximum else 0.0,
        "bin": int(bin_of(activation, maximum, settings.bins)),
        "inclusion_probability": None,
        "rarity_low": None,
        "rarity_high": None,
        "mark": move_to_whole_characters(tokens, activations, counted, candidate.mark - candidate.start),
        "tokens": tokens,
        "token_activations": activations.tolist(),
        "counted": counted.tolist(),
    }


def is_consistent(row: ExemplarRow) -> bool:
    """Whether the marked character is active or silent as the marked token is.

    A character of several tokens is the text of its last one, which may be active where an earlier one is silent. Then the mark would
    not stand at an activation of the window's kind.
    """
    return bool(row["activation"]) == bool(row["token_activations"][row["mark"]])
