"""Which labelled unit's explanation each unit is given, and how probable it is that it is right.

A first regression says from the evidence of a pair how probable it is that the explanation of one is right for the other. Each unit takes the
explanation of largest odds. A second regression, drawn to the first one's probability, corrects it by how far explanations compete
that are not right for each other. Both are fitted on pairs that the judge has graded; the second one on decisions made with a first one
that has not seen the unit (cross-validation by unit, not by pair).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autointerp.explorer.propagation import pair_model
from autointerp.explorer.propagation.evidence import NAMES, Comparison, Rows, Scores
from autointerp.explorer.propagation.pair_model import Floats, Prior
from autointerp.progress import OnProgress, quiet

PAIRS = Prior(mean=(-5.0, 1.0, 0.5, 1.0, 0.7, 0.7, 0.5, 0.5, 0.7, 0.1), precision=(0.3, *[4.0] * len(NAMES)))
"""Odds of a pair before any unit is labelled. The scores are signed logarithms of standard deviations, so that 1.5 is clear evidence."""
COMPETITION = Prior(mean=(0.0, 1.0, -0.3), precision=(1.0, 3.0, 3.0))
FOLDS = 20
_LEAST_RIVAL = -4.0
"""Log-odds below which a competing explanation no longer counts."""
_MOST_PAIRS = 200_000
"""Pairs that a regression sees; of those that are not right a sample, with their weight in the intercept."""


@dataclass(frozen=True)
class Judged:
    """Pairs that the judge has graded: `right` (U, L) says whether the explanation of the source of a column is right for the unit of a row, and
    `known` (U, L) which pairs were graded.

    `units` (U,) are rows of the evidence: labelled units, and others at which explanations were checked. `by_chance` (U,) says for which
    a decision is a fair sample of those about units without a label: units that were chosen to be explained are unlike each other, so
    that what is right for them says little of the others.
    """

    units: Rows
    right: NDArray[np.bool_]
    known: NDArray[np.bool_]
    by_chance: NDArray[np.bool_]

    def among(self, sources: Rows) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """`right` and `known` (L, L) between the sources themselves; a source that is none of the units has no row that is known."""
        place = {int(unit): i for i, unit in enumerate(self.units)}
        right = np.zeros((len(sources), len(sources)), dtype=bool)
        known = right.copy()
        for i, source in enumerate(sources.tolist()):
            if source in place:
                right[i], known[i] = self.right[place[source]], self.known[place[source]]
        return right, known

    def joined(self, other: Judged) -> Judged:
        """These pairs and those of other units."""
        return Judged(
            *(
                np.concatenate([getattr(self, name), getattr(other, name)])
                for name in ("units", "right", "known", "by_chance")
            )
        )


@dataclass(frozen=True)
class Decisions:
    """Of each unit, the place of the chosen source (-1 without evidence) and the probability that its explanation is right."""

    source: NDArray[np.int64]
    probability: NDArray[np.float64]


@dataclass(frozen=True)
class Propagation:
    """Fitted regressions, which explanations compete and which may be passed on, and `tested`: decisions about the judged units, each by
    regressions that have not seen it, where the judge's answer `right` is `known`."""

    pair: Floats
    competition: Floats
    rivals: NDArray[np.bool_]
    usable: NDArray[np.bool_]
    tested: Decisions
    right: NDArray[np.bool_]
    known: NDArray[np.bool_]

    def decide(self, comparison: Comparison, rows: Rows, on_decided: OnProgress = quiet) -> Decisions:
        """The decisions about some units, which have no label. Units without any evidence have none."""
        source, probability = np.full(len(rows), -1), np.zeros(len(rows))
        at = np.flatnonzero(comparison.evidence.has_any()[rows]) if self.usable.any() else np.zeros(0, np.int64)
        done = 0
        for part, scores in comparison.blocks(rows[at]):
            place = at[done : done + len(part)]
            best, features = _summary(pair_model.log_odds(scores, self.pair), self.rivals, self.usable)
            source[place] = best
            probability[place] = pair_model.probability(pair_model.log_odds(features, self.competition))
            done += len(part)
            on_decided("propagation", done, len(at))
        return Decisions(source, probability)


def fit(comparison: Comparison, judged: Judged, seed: int = 0) -> Propagation:
    """Fit both regressions on the pairs that the judge has graded."""
    units, sources = judged.units, comparison.sources
    n = len(units)
    scores = np.concatenate(
        [np.zeros((0, len(sources), len(NAMES)), np.float32), *(s for _, s in comparison.blocks(units))]
    )
    own = units[:, None] == sources
    used = judged.known & ~own
    right, known = judged.among(sources)
    rivals, usable = _rivals(right, known), np.diagonal(right) | ~np.diagonal(known)
    fold = np.random.default_rng(seed).permutation(n) % min(FOLDS, max(n, 1))
    source, features = np.full(n, -1), np.zeros((n, 2))
    for number in np.unique(fold):
        held = fold == number
        pair = _fit_pairs(scores, judged.right, used & ~held[:, None] & ~np.isin(sources, units[held]), seed)
        odds = np.where(own[held], -np.inf, pair_model.log_odds(scores[held], pair))
        source[held], features[held] = _summary(odds, rivals, usable)
    decided = np.isfinite(features[:, 0])
    source[~decided], features[~decided] = -1, 0
    tested = decided & judged.by_chance & used[np.arange(n), source]
    is_right = tested & judged.right[np.arange(n), source]
    competition = pair_model.fit(features[tested], is_right[tested], COMPETITION)
    decisions = Decisions(source, _held_out(features, is_right, tested, fold))
    return Propagation(
        _fit_pairs(scores, judged.right, used, seed), competition, rivals, usable, decisions, is_right, tested
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


def _rivals(right: NDArray[np.bool_], known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which explanations (L, L) compete: neither is right for the other's unit."""
    fits = right & known
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
