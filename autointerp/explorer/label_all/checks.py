"""Whether explanations of labelled units are right for other labelled units: the judge grades a few pairs, from which probabilities are fitted."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from autointerp.explorer.label_all.known_labels import Known
from autointerp.explorer.labels.fits import Pair
from autointerp.explorer.propagation import pair_model
from autointerp.explorer.propagation.decisions import PAIRS, Targets
from autointerp.explorer.propagation.evidence import Comparison

MOST_UNITS = 100
"""Labelled units at which explanations are checked, those drawn by chance first."""
LIKELY, ANY = 5, 1
"""Explanations of others that are checked at each of them: the most probable ones before any data, and some by chance."""
Places = NDArray[np.int64]


def pairs(comparison: Comparison, by_chance: NDArray[np.bool_], seed: int = 0) -> Places:
    """The places (n, 2) of a unit and a source among the labelled ones, whose explanation is checked at the unit; each unit with itself too."""
    n = len(comparison.sources)
    rng = np.random.default_rng(seed)
    order = rng.permutation(n)
    units = np.sort(order[np.argsort(~by_chance[order], kind="stable")][:MOST_UNITS])
    chosen: list[tuple[int, int]] = (
        [(place, place) for place in range(n)] if n <= MOST_UNITS else [(u, u) for u in units.tolist()]
    )
    done = 0
    for part, scores in comparison.blocks(comparison.sources[units]):
        odds = pair_model.log_odds(scores, np.array(PAIRS.mean, np.float32))
        for place, own in zip(units[done : done + len(part)].tolist(), odds, strict=True):
            likely = [i for i in np.argsort(-own, kind="stable").tolist() if i != place][:LIKELY]
            others = np.setdiff1d(np.arange(n), [place, *likely])
            by_luck = rng.choice(others, min(ANY, len(others)), replace=False).tolist()
            chosen += [(place, source) for source in (*likely, *by_luck)]
        done += len(part)
    return np.array(chosen, dtype=np.int64).reshape(-1, 2)


def asked(places: Places, known: Known) -> list[Pair]:
    """The pairs as the judge is asked about them."""
    return [(int(known.rows[unit]), known.texts[source]) for unit, source in places.tolist()]


def targets(places: Places, known: Known, fits: Mapping[Pair, bool], by_chance: NDArray[np.bool_]) -> Targets:
    """What the judge's answers say of the labelled units."""
    n = len(known.rows)
    right, judged = np.zeros((n, n), dtype=bool), np.zeros((n, n), dtype=bool)
    for (unit, source), pair in zip(places.tolist(), asked(places, known), strict=True):
        if pair in fits:
            judged[unit, source], right[unit, source] = True, fits[pair]
    return Targets(right, judged, by_chance)
