"""Which judged items people are shown: a stratified random sample in which every item's chance is known.

Each item has a permanent random number, a hash of the seed and of what it is. A stratum's sample of size n is the n items of lowest
number, so that a larger sample holds the smaller one, and given the sizes each item of a stratum of N is in it with probability n / N
(permanent random numbers: Ohlsson, "Coordination of samples using permanent random numbers", in *Business Survey Methods*, Wiley 1995).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from autointerp.errors import UsageError
from autointerp.hashing import content_hash
from autointerp.ledger.labels import Key, Sampled
from autointerp.records import Arm

LEAST = 2
"""Items that every stratum has, where it has so many: without two there is no variance within it."""
SHARES = {"main": 0.8, "shuffled": 0.08, "base_rate": 0.08, "planted": 0.04}
"""How much of a sample each group gets. The main arm is what labels correct; the others are the rater's own floor and ceiling."""


@dataclass(frozen=True)
class Judged:
    """One judged item that may be sampled: what it is, its unit and the unit's kind, and the judge's grade."""

    key: Key
    unit_id: str
    kind: str
    score: int

    @property
    def stratum(self) -> str:
        """Kind and grade in the main arm, else the arm alone. Depends on nothing that a larger sample could change."""
        if self.kind == "planted":
            return "planted"
        return f"main/{self.kind}/{self.score}" if self.key.arm == Arm.MAIN.value else self.key.arm


def allocate(sizes: Mapping[str, int], n: int) -> dict[str, int]:
    """How many of `n` items each stratum gets, of at most as many as it has.

    Place by place: first `LEAST` each, then whichever is furthest below its share (Sainte-Lague's divisors). A larger `n` never takes a
    place away. Within a group shares go by the square root of the size (Bankier's power allocation, JASA 1988), so that rare grades are seen.
    """
    weights = _weights(sizes)
    places = dict.fromkeys(sizes, 0)
    for _ in range(min(n, sum(sizes.values()))):
        open_ = [name for name in sizes if places[name] < sizes[name]]
        neediest = min(open_, key=lambda h: (min(places[h], LEAST), -weights[h] / (places[h] + 0.5), h))
        places[neediest] += 1
    return places


def _weights(sizes: Mapping[str, int]) -> dict[str, float]:
    totals: dict[str, float] = defaultdict(float)
    for name, size in sizes.items():
        totals[_group(name)] += sqrt(size)
    return {name: SHARES[_group(name)] * sqrt(size) / totals[_group(name)] for name, size in sizes.items()}


def _group(stratum: str) -> str:
    return stratum.split("/")[0]


def extend(population: Sequence[Judged], there: Sequence[Sampled], n: int, seed: str) -> list[Sampled]:
    """The sample of `n` items, or of as many as there are: those of `there` under their numbers, then the new ones in a random order.

    Probabilities are those of the design that results. Where more was judged since `there` was drawn, a stratum also takes in whatever comes
    before its last sampled item; its probabilities are then right to a relative 1 / N. An item that is no longer judged stays as it was.
    Raises `UsageError` when `n` is too small for every stratum to have its `LEAST`.
    """
    strata = _strata(population, seed)
    sizes = {name: len(members) for name, members in strata.items()}
    least = sum(min(LEAST, size) for size in sizes.values())
    n = max(n, len(there))
    if n < least:
        raise UsageError(
            f"--items {n} is too few: this run's items fall into {len(sizes)} groups of {LEAST} at least, so ask for {least} or more"
        )
    known = {item.key: item for item in there}
    chosen: dict[Key, tuple[Judged, float]] = {}
    for name, places in allocate(sizes, n).items():
        last = max((place for place, item in enumerate(strata[name], 1) if item.key in known), default=0)
        taken = max(places, last)
        chosen |= {item.key: (item, taken / sizes[name]) for item in strata[name][:taken]}
    kept = [_row(item.number, *chosen[item.key]) if item.key in chosen else item for item in there]
    new = sorted((key for key in chosen if key not in known), key=lambda key: content_hash(["order", seed, *key]))
    first = max((item.number for item in there), default=0) + 1
    return kept + [_row(number, *chosen[key]) for number, key in enumerate(new, first)]


def _strata(population: Sequence[Judged], seed: str) -> dict[str, list[Judged]]:
    """Each stratum's items in the order of their random numbers."""
    strata: dict[str, list[Judged]] = defaultdict(list)
    for item in sorted(population, key=lambda item: content_hash(["sample", seed, *item.key])):
        strata[item.stratum].append(item)
    return dict(sorted(strata.items()))


def _row(number: int, item: Judged, probability: float) -> Sampled:
    key = item.key
    return Sampled(number, key.exemplar_id, item.unit_id, key.arm, key.explanation_unit_id, item.stratum, probability)
