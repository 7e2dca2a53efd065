"""The sentences of a study of neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from autointerp.formatting import count, estimate, number, percent, plural
from autointerp.studies.neighbours.assignment import Accuracy
from autointerp.studies.neighbours.features import Features
from autointerp.studies.neighbours.hierarchy import HELD_OUT, Hierarchy

CLOSE = 0.9
_NAMED = 3
"""Neighbours of a chosen feature that a sentence names."""

Numbers = NDArray[np.int64]


def of_all(features: Features, numbers: Numbers, cosines: NDArray[np.float32]) -> Iterator[str]:
    """How near the nearest features are, beside random directions."""
    has = numbers[:, 0] >= 0
    first = cosines[has, 0]
    if not len(first):
        yield "No feature has another in its direction: all cosines are at most 0."
        return
    low, median, high = np.quantile(first, [0.05, 0.5, 0.95])
    yield (
        f"{_size(features)}: the nearest other feature has a median cosine of {number(median)} (90% of features: {number(low)} to"
        f" {number(high)}); for as many random directions it would be about {number(_random_nearest(features))}."
    )
    close = int((first >= CLOSE).sum())
    yield f"{plural(close, 'feature')} {'has' if close == 1 else 'have'} another with a cosine of at least {CLOSE}."
    if len(features.studied) > 1:
        starts = np.array(features.directions.starts)
        own, other = (np.searchsorted(starts, at, side="right") for at in (np.flatnonzero(has), numbers[has, 0]))
        yield f"For {percent(float((own != other).mean()))} of features the nearest one is in another dictionary."


def of_chosen(
    features: Features, chosen: Sequence[int], numbers: Numbers, cosines: NDArray[np.float32]
) -> Iterator[str]:
    """The first neighbours of each chosen feature."""
    for feature, near, values in zip(chosen, numbers.tolist(), cosines.tolist(), strict=True):
        named = [
            f"{features.label(n)} at {number(value)}"
            for n, value in zip(near[:_NAMED], values, strict=False) if n >= 0
        ]  # fmt: skip
        nearest = "; ".join(named) or "none with a cosine above 0"
        yield f"Nearest to {features.label(feature)}: {nearest}."
    yield f"For random directions, as many and as wide, the nearest would have a cosine of about {number(_random_nearest(features))}."


def of_groups(features: Features, hierarchy: Hierarchy, minimum: int) -> Iterator[str]:
    """What was grouped, and into how many groups."""
    population = len(hierarchy.population)
    kind = "explained feature" if population == len(features.explained) else "feature"
    if not hierarchy.groups:
        yield f"There are no groups of at least {plural(minimum, 'feature')}."
        return
    smallest = hierarchy.smallest
    alone = population - sum(len(group.members) for group in smallest)
    above = [sum(group.level == level for group in hierarchy.groups) for level in range(hierarchy.levels - 1, 0, -1)]
    larger = "".join(f", which lie within {plural(n, 'larger one')}" for n in above)
    in_none = f"; {count(alone)} {'is' if alone == 1 else 'are'} in none" if alone else ""
    yield (
        f"{plural(population, kind)} form {plural(len(smallest), 'group')} of at least {minimum} by direction{larger}{in_none}."
    )


def of_names(names: Mapping[str, str], judged: bool, accuracy: Accuracy | None, n_trials: int) -> Iterator[str]:
    """Who named the groups, and how well held-out members are assigned by the names."""
    if not names:
        return
    if accuracy is None:
        yield "Groups are called after their central features, or after words of a few explanations: no name could be tested."
        return
    yield (
        "Groups are named by the judge."
        if judged
        else "Groups are called by the words that set their explanations apart from others (no judge was given)."
    )
    unanswered = n_trials - accuracy.n
    yield (
        f"By the names alone, {'the judge' if judged else 'word vectors'} put"
        f"{'s' if judged else ''} {estimate(accuracy.share, *accuracy.interval)} of"
        f" {plural(accuracy.n, 'held-out feature')} into the right one of several groups; by chance it would be"
        f" {number(accuracy.chance)}. The names were made without these features, {percent(HELD_OUT)} of each group."
        + (f" {plural(unanswered, 'question')} had no usable answer." if unanswered else "")
    )


def _size(features: Features) -> str:
    of = f" of {plural(len(features.studied), 'dictionary', 'dictionaries')}" if len(features.studied) > 1 else ""
    return f"{plural(len(features.directions), 'feature')}{of}"


def _random_nearest(features: Features) -> float:
    """The median cosine of the nearest of so many random directions: each cosine is about normal with variance 1 / width."""
    others = max(1, len(features.directions) - 1)
    return float(ndtri(0.5 ** (1 / others))) / sqrt(features.directions.width)
