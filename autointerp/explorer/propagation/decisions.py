"""Which labelled unit's explanation each unit is given, and how probable it is that it is right.

A first regression says from the evidence of a pair how probable it is that the explanation of one is right for the other. Each unit takes the
explanation of largest odds. A second regression, drawn to the first one's probability, corrects it by how far explanations compete
that are not right for each other. Both are fitted on labelled units, for which it is known which explanations are right; the second one on
decisions made with a first one that has not seen the unit (cross-validation by unit, not by pair).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autointerp.explorer.propagation import pair_model
from autointerp.explorer.propagation.evidence import NAMES, Comparison, Rows, Scores
from autointerp.explorer.propagation.pair_model import Floats, Prior

PAIRS = Prior(mean=(-5.0, 1.0, 0.5, 1.0, 0.7, 0.7, 0.5, 0.5, 0.7, 0.1), precision=(0.3, *[4.0] * len(NAMES)))
"""Odds of a pair before any unit is labelled. The scores are signed logarithms of standard deviations, so that 1.5 is clear evidence."""
COMPETITION = Prior(mean=(0.0, 1.0, -0.3), precision=(1.0, 3.0, 3.0))
FOLDS = 20
_LEAST_RIVAL = -4.0
"""Log-odds below which a competing explanation no longer counts."""
_MOST_PAIRS = 200_000
"""Pairs that a regression sees; of those that are not right a sample, with their weight in the intercept."""


@dataclass(frozen=True)
class Targets:
    """What is known of L labelled units: `right` (L, L) says whether the explanation of a column is right for the unit of a row, and `known`
    (L, L) which pairs have been judged. The diagonal says whether an explanation is right for its own unit. `by_chance` (L,) says which units were drawn by chance: the others were
    chosen to be unlike each other, so that what is right for them is no measure of what is right for units without a label."""

    right: NDArray[np.bool_]
    known: NDArray[np.bool_]
    by_chance: NDArray[np.bool_]

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Whose explanation is right for the unit itself, or has not been judged: no other is passed on."""
        own: NDArray[np.bool_] = np.diagonal(self.right) | ~np.diagonal(self.known)
        return own


@dataclass(frozen=True)
class Decisions:
    """Of each unit, the place of the chosen source (-1 without evidence) and the probability that its explanation is right."""

    source: NDArray[np.int64]
    probability: NDArray[np.float64]


@dataclass(frozen=True)
class Propagation:
    """Fitted regressions, and the decisions about the labelled units themselves, each made without its own label, with their truth."""

    pair: Floats
    competition: Floats
    rivals: NDArray[np.bool_]
    usable: NDArray[np.bool_]
    own: Decisions
    own_right: NDArray[np.bool_]
    own_known: NDArray[np.bool_]

    def decide(self, comparison: Comparison, rows: Rows) -> Decisions:
        """The decisions about some units, which have no label. Units without any evidence have none."""
        source, probability = np.full(len(rows), -1), np.zeros(len(rows))
        has = comparison.evidence.has_any()[rows]
        at = np.flatnonzero(has) if self.usable.any() else np.zeros(0, np.int64)
        done = 0
        for part, scores in comparison.blocks(rows[at]):
            place = at[done : done + len(part)]
            best, features = _summary(pair_model.log_odds(scores, self.pair), self.rivals, self.usable)
            source[place] = best
            probability[place] = pair_model.probability(pair_model.log_odds(features, self.competition))
            done += len(part)
        return Decisions(source, probability)


def fit(comparison: Comparison, targets: Targets, seed: int = 0) -> Propagation:
    """Fit both regressions on the labelled units of a comparison."""
    n = len(comparison.sources)
    scores = np.concatenate(
        [np.zeros((0, n, len(NAMES)), np.float32), *(s for _, s in comparison.blocks(comparison.sources))]
    )
    apart = ~np.eye(n, dtype=bool)
    used = targets.known & apart
    rivals = _rivals(targets)
    fold = np.random.default_rng(seed).permutation(n) % min(FOLDS, max(n, 1))
    source, features = np.full(n, -1), np.zeros((n, 2))
    for number in range(min(FOLDS, n)):
        held = fold == number
        pair = _fit_pairs(scores, targets.right, used & ~held[:, None] & ~held[None, :], seed)
        odds = pair_model.log_odds(scores[held], pair)
        odds[~apart[held]] = -np.inf
        source[held], features[held] = _summary(odds, rivals, targets.usable)
    decided = np.isfinite(features[:, 0])
    source[~decided], features[~decided] = -1, 0
    right = decided & targets.right[np.arange(n), source]
    known = decided & used[np.arange(n), source] & targets.by_chance
    competition = pair_model.fit(features[known], right[known], COMPETITION)
    own = Decisions(source, _held_out(features, right, known, fold))
    return Propagation(
        _fit_pairs(scores, targets.right, used, seed), competition, rivals, targets.usable, own, right, known
    )


def _held_out(features: Floats, right: NDArray[np.bool_], known: NDArray[np.bool_], fold: NDArray[np.int64]) -> Floats:
    """The probability of each labelled unit's decision by a second regression that has not seen it."""
    found = np.zeros(len(features))
    for number in np.unique(fold):
        held = fold == number
        weights = pair_model.fit(features[known & ~held], right[known & ~held], COMPETITION)
        found[held] = pair_model.probability(pair_model.log_odds(features[held], weights))
    return found


def _fit_pairs(scores: Scores, right: NDArray[np.bool_], used: NDArray[np.bool_], seed: int) -> Floats:
    positive, negative = np.argwhere(used & right), np.argwhere(used & ~right)
    share = min(1.0, _MOST_PAIRS / max(len(negative), 1))
    if share < 1:
        negative = np.random.default_rng(seed).permutation(negative)[:_MOST_PAIRS]
    pairs = np.concatenate([positive, negative])
    prior = PAIRS if share == 1 else Prior((PAIRS.mean[0] - np.log(share), *PAIRS.mean[1:]), PAIRS.precision)
    weights = pair_model.fit(scores[pairs[:, 0], pairs[:, 1]], right[pairs[:, 0], pairs[:, 1]], prior)
    weights[0] += np.log(share)  # a sample of the wrong pairs raises the odds of the right ones
    return weights


def _rivals(targets: Targets) -> NDArray[np.bool_]:
    """Which explanations (L, L) compete: neither is right for the other's unit."""
    fits = targets.right & targets.known
    return ~(fits | fits.T | np.eye(len(fits), dtype=bool))


def _summary(
    odds: NDArray[np.floating], rivals: NDArray[np.bool_], usable: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], Floats]:
    """The place of the largest log-odds of each unit (n,) among the usable explanations, and (n, 2): it, and the sum of its rivals'."""
    odds = np.where(usable, odds, -np.inf)
    best = odds.argmax(axis=1)
    others = np.where(rivals[best], odds, -np.inf)
    most = np.maximum(others.max(axis=1, initial=-np.inf), _LEAST_RIVAL)
    total = most + np.log(np.exp(others - most[:, None]).sum(axis=1) + np.exp(_LEAST_RIVAL - most))
    top = odds[np.arange(len(odds)), best]
    return best, np.column_stack([top, total]).astype(np.float64)
