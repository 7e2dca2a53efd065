"""Which units are worth an explanation: those from which most others are expected to have theirs."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autointerp.explorer.propagation import pair_model
from autointerp.explorer.propagation.decisions import PAIRS
from autointerp.explorer.propagation.evidence import Comparison, Evidence, Rows

CANDIDATES, OTHERS = 4096, 8192
"""Most units that are considered, and most others that are counted for each."""
BY_CHANCE = 0.25
"""Share of the units that is drawn by chance, from all: they say how probabilities hold for units that were not chosen."""


@dataclass(frozen=True)
class Choice:
    """Units to be explained, and which of them were drawn by chance."""

    rows: Rows
    by_chance: NDArray[np.bool_]


def choose(evidence: Evidence, n: int, labelled: Rows, seed: int = 0) -> Choice:
    """`n` units to be explained beside those that are labelled already, in the order of their worth; those drawn by chance come last.

    The worth of a set is the number of units expected to take a right explanation from it, by the odds before any data: the sum over units
    of the largest probability among the set. It is submodular, so that the greedy choice is within 1 - 1/e of the best (Nemhauser,
    Wolsey and Fisher 1978). Units without evidence are never chosen.
    """
    rng = np.random.default_rng(seed)
    free = np.setdiff1d(np.flatnonzero(evidence.has_any()), labelled)
    n = min(n, len(free))
    n_by_chance = round(n * BY_CHANCE)
    candidates = np.sort(rng.choice(free, min(CANDIDATES, len(free)), replace=False))
    others = np.sort(rng.choice(free, min(OTHERS, len(free)), replace=False))
    worth = _probabilities(evidence, candidates, others)
    known = _probabilities(evidence, labelled, others).max(axis=1, initial=0)
    chosen = candidates[_greedy(worth, known, n - n_by_chance)]
    rest = np.setdiff1d(free, chosen)
    drawn = rng.choice(rest, n - len(chosen), replace=False)
    return Choice(np.concatenate([chosen, drawn]), np.arange(n) >= len(chosen))


def at_random(evidence: Evidence, n: int, labelled: Rows, seed: int = 0) -> Choice:
    """`n` units with evidence and without a label, drawn by chance."""
    free = np.setdiff1d(np.flatnonzero(evidence.has_any()), labelled)
    rows = np.random.default_rng(seed).choice(free, min(n, len(free)), replace=False)
    return Choice(rows, np.ones(len(rows), dtype=bool))


def _probabilities(evidence: Evidence, sources: Rows, units: Rows) -> np.ndarray:
    """How probable it is before any data that the explanation of each source is right for each unit (n_units, n_sources), float16."""
    if not len(sources):
        return np.zeros((len(units), 0), dtype=np.float16)
    comparison, weights = Comparison(evidence, sources), np.array(PAIRS.mean, np.float32)
    found = [
        pair_model.probability(scores @ weights[1:] + weights[0]).astype(np.float16)
        for _, scores in comparison.blocks(units)
    ]
    matrix = np.concatenate(found)
    matrix[units[:, None] == sources] = 1
    return matrix


def _greedy(worth: np.ndarray, known: np.ndarray, n: int) -> list[int]:
    """Columns in the order in which they add most, found lazily: what a column adds only falls."""
    best = known.astype(np.float32)
    columns = np.ascontiguousarray(worth.T)
    queue = [(-float(np.maximum(column - best, 0).sum()), place) for place, column in enumerate(columns)]
    heapq.heapify(queue)
    chosen: list[int] = []
    while queue and len(chosen) < n:
        _, place = heapq.heappop(queue)
        gain = -float(np.maximum(columns[place] - best, 0).sum())
        if queue and gain > queue[0][0]:
            heapq.heappush(queue, (gain, place))
            continue
        chosen.append(place)
        best = np.maximum(best, columns[place])
    return chosen
