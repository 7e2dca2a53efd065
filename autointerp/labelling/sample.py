"""The stratified random sample of judged items that people grade, in which the sampling probability of every item is known.

Every item has a permanent random number, a hash of the seed and its identity. The sample of size n of a stratum is its n items of
lowest number, so that a larger sample contains the smaller one, and given the sizes, each item of a stratum of N has the probability
n / N (permanent random numbers: Ohlsson, "Coordination of samples using permanent random numbers", in *Business Survey Methods*,
Wiley 1995).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from autointerp.errors import UsageError
from autointerp.hashing import content_hash
from autointerp.ledger.labels import ItemKey, LabelItem
from autointerp.records import Arm

LEAST = 2
"""Least number of items sampled from every stratum that has them: one item has no variance."""
SHARES = {"main": 0.8, "shuffled": 0.08, "base_rate": 0.08, "planted": 0.04}
"""Share of each group in the sample. Labels correct the main arm; the other groups show the rater's own floor and ceiling."""


@dataclass(frozen=True)
class Judged:
    """A judged item of the population: its identity, its unit with its kind, and the judge's grade."""

    key: ItemKey
    unit_id: str
    kind: str
    score: int

    @property
    def stratum(self) -> str:
        """The item's stratum: kind and grade in the main arm, else the arm alone. It does not depend on the sample's size."""
        if self.kind == "planted":
            return "planted"
        return f"main/{self.kind}/{self.score}" if self.key.arm == Arm.MAIN.value else self.key.arm


def allocate(sizes: Mapping[str, int], n: int) -> dict[str, int]:
    """The number of items to sample from each stratum, of `n` in all and at most as many as it has.

    Items are allocated one by one: first `LEAST` to every stratum, then each to the stratum furthest below its share (Sainte-Lague's
    divisors), so that a larger `n` never takes items from a stratum. Within a group, shares are proportional to the square root of the
    stratum's size (Bankier's power allocation, JASA 1988), so that rare grades are represented.
    """
    weights = _weights(sizes)
    allocated = dict.fromkeys(sizes, 0)
    for _ in range(min(n, sum(sizes.values()))):
        candidates = [name for name in sizes if allocated[name] < sizes[name]]
        neediest = min(candidates, key=lambda h: (min(allocated[h], LEAST), -weights[h] / (allocated[h] + 0.5), h))
        allocated[neediest] += 1
    return allocated


def _weights(sizes: Mapping[str, int]) -> dict[str, float]:
    """Each stratum's target share of the sample."""
    totals: dict[str, float] = defaultdict(float)
    for name, size in sizes.items():
        totals[_group(name)] += sqrt(size)
    return {name: SHARES[_group(name)] * sqrt(size) / totals[_group(name)] for name, size in sizes.items()}


def _group(stratum: str) -> str:
    return stratum.split("/")[0]


def extend(population: Sequence[Judged], existing: Sequence[LabelItem], n: int, seed: str) -> list[LabelItem]:
    """A sample of `n` items, or all if there are fewer: the `existing` ones under their numbers, then new ones in random order.

    Probabilities are those of the resulting design. If more was judged since `existing` was drawn, a stratum also includes every item
    before its last sampled one; its probabilities are then correct to a relative 1 / N. An item that is no longer judged is kept
    unchanged. Raises `UsageError` if `n` is too small for `LEAST` items of every stratum.
    """
    strata = _strata(population, seed)
    sizes = {name: len(members) for name, members in strata.items()}
    least = sum(min(LEAST, size) for size in sizes.values())
    n = max(n, len(existing))
    if n < least:
        raise UsageError(
            f"--items {n} is too few: a sample takes at least {LEAST} items from each of this run's {len(sizes)} groups, so ask for"
            f" {least} or more"
        )
    known = {item.key: item for item in existing}
    chosen: dict[ItemKey, tuple[Judged, float]] = {}
    for name, allocated in allocate(sizes, n).items():
        last = max((place for place, item in enumerate(strata[name], 1) if item.key in known), default=0)
        n_taken = max(allocated, last)
        chosen |= {item.key: (item, n_taken / sizes[name]) for item in strata[name][:n_taken]}
    kept = [_row(item.number, *chosen[item.key]) if item.key in chosen else item for item in existing]
    new = sorted((key for key in chosen if key not in known), key=lambda key: content_hash(["order", seed, *key]))
    first = max((item.number for item in existing), default=0) + 1
    return kept + [_row(number, *chosen[key]) for number, key in enumerate(new, first)]


def _strata(population: Sequence[Judged], seed: str) -> dict[str, list[Judged]]:
    """Each stratum's items in the order of their random numbers."""
    strata: dict[str, list[Judged]] = defaultdict(list)
    for item in sorted(population, key=lambda item: content_hash(["sample", seed, *item.key])):
        strata[item.stratum].append(item)
    return dict(sorted(strata.items()))


def _row(number: int, item: Judged, probability: float) -> LabelItem:
    key = item.key
    return LabelItem(number, key.exemplar_id, item.unit_id, key.arm, key.explanation_unit_id, item.stratum, probability)
