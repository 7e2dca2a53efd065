"""Which explanations the judge is asked about, and the probabilities that follow from its answers.

First explanations are checked at labelled units. These are few, and what is right among them says little of how probabilities hold; so
further ones are checked at units without a label, equally many of each range of probability. In the end a fair sample of those that are
passed on is checked, for the precision that is told.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from autointerp.explorer.propagation import decisions, pair_model
from autointerp.explorer.propagation.decisions import PAIRS, Decisions, Judged, Propagation
from autointerp.explorer.propagation.evidence import Comparison, Rows
from autointerp.progress import OnProgress, quiet

MOST_UNITS = 100
"""Labelled units at which explanations are checked, those drawn by chance first."""
LIKELY, ANY = 5, 1
"""Explanations of others that are checked at each of them: the most probable ones before any data, and some by chance."""
ROUNDS, PER_ROUND = 2, 60
"""How often explanations are checked at units without a label before the probabilities are final, and at how many units."""
MOST_LOOKED = 16_384
"""Units without a label among which those to be checked are found."""
SAMPLE = 40
"""Propagated explanations that are checked at the end."""
_RANGES = (0.05, 0.2, 0.4, 0.6, 0.8, 0.95)
Flags = NDArray[np.bool_]
Ask = Callable[[Rows, NDArray[np.int64]], tuple[Flags, Flags]]
"""Whether the explanation of each source, a place among the labelled units, is right for each unit, and for which the judge answered."""


def most_checks(n_labelled: int) -> int:
    """Checks of as many labelled units, at most."""
    each = 1 + min(LIKELY + ANY, max(0, n_labelled - 1))
    return min(n_labelled, MOST_UNITS) * each + ROUNDS * PER_ROUND + SAMPLE


def fit(
    comparison: Comparison, by_chance: Flags, ask: Ask, on_decided: OnProgress = quiet, rounds: int = ROUNDS
) -> tuple[Propagation, Rows, Decisions]:
    """Fit on labelled units, then on more units without a label at which decisions are checked.

    `by_chance` (L,) says which labelled units were drawn by chance; if none was, all count as if they were. Returns the regressions, and the
    units without a label with the decisions about them.
    """
    sources = comparison.sources
    rest = np.setdiff1d(np.arange(len(comparison.evidence)), sources)
    judged = _at_labelled(comparison, by_chance if by_chance.any() else np.ones_like(by_chance), ask)
    looked = rest if len(rest) <= MOST_LOOKED else np.random.default_rng(0).choice(rest, MOST_LOOKED, replace=False)
    free = np.ones(len(looked), dtype=bool)
    for number in range(rounds):
        decided = decisions.fit(comparison, judged).decide(comparison, looked, on_decided)
        at = spread(decided.probability, free, PER_ROUND, number)
        free[at] = False
        judged = judged.joined(_at_decided(looked[at], decided.source[at], len(sources), ask))
    propagation = decisions.fit(comparison, judged)
    return propagation, rest, propagation.decide(comparison, rest, on_decided)


def spread(probability: NDArray[np.float64], free: Flags, n: int, seed: int) -> NDArray[np.int64]:
    """The places of `n` of the `free` units, equally many of each range of probability as far as there are."""
    order = np.random.default_rng(seed).permutation(np.flatnonzero(free & (probability > 0)))
    ranges = np.digitize(probability[order], _RANGES)
    turn = np.empty(len(order), dtype=np.int64)
    for number in np.unique(ranges):
        here = np.flatnonzero(ranges == number)
        turn[here] = np.arange(len(here))
    return order[np.argsort(turn, kind="stable")][:n]


def pairs(comparison: Comparison, by_chance: Flags, seed: int = 0) -> NDArray[np.int64]:
    """The places (n, 2) of a unit and a source among the labelled ones, whose explanation is checked at the unit; its own too."""
    n = len(comparison.sources)
    rng = np.random.default_rng(seed)
    order = rng.permutation(n)
    units = np.sort(order[np.argsort(~by_chance[order], kind="stable")][:MOST_UNITS])
    chosen: list[tuple[int, int]] = []
    done = 0
    for part, scores in comparison.blocks(comparison.sources[units]):
        odds = pair_model.log_odds(scores, np.array(PAIRS.mean, np.float32))
        for place, own in zip(units[done : done + len(part)].tolist(), odds, strict=True):
            likely = [i for i in np.argsort(-own, kind="stable").tolist() if i != place][:LIKELY]
            others = np.setdiff1d(np.arange(n), [place, *likely])
            by_luck = rng.choice(others, min(ANY, len(others)), replace=False).tolist()
            chosen += [(place, source) for source in (place, *likely, *by_luck)]
        done += len(part)
    return np.array(chosen, dtype=np.int64).reshape(-1, 2)


def _at_labelled(comparison: Comparison, by_chance: Flags, ask: Ask) -> Judged:
    sources, places = comparison.sources, pairs(comparison, by_chance)
    answers, answered = ask(sources[places[:, 0]], places[:, 1])
    right, known = np.zeros((2, len(sources), len(sources)), dtype=bool)
    right[places[:, 0], places[:, 1]], known[places[:, 0], places[:, 1]] = answers & answered, answered
    return Judged(sources, right, known, by_chance)


def _at_decided(units: Rows, chosen: NDArray[np.int64], n_sources: int, ask: Ask) -> Judged:
    answers, answered = ask(units, chosen)
    right, known = np.zeros((2, len(units), n_sources), dtype=bool)
    right[np.arange(len(units)), chosen], known[np.arange(len(units)), chosen] = answers & answered, answered
    return Judged(units, right, known, np.ones(len(units), dtype=bool))
