"""A graph's grade: what the silence of its features does to the answer, against that of random groups of the same size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sae.studies.attribution.ablation import Place
from sae.studies.attribution.active_features import ActiveFeatures
from sae.studies.attribution.circuit import ERROR, FIRST, Circuit


@dataclass(frozen=True)
class Interchange:
    """How much the difference of logits falls when a group of `size` features is silent, and when random groups are."""

    size: int
    effect: float
    random: tuple[float, ...]

    @property
    def interval(self) -> tuple[float, float]:
        """The interval that contains 95% of the random effects."""
        low, high = np.quantile(self.random, [0.025, 0.975])
        return float(low), float(high)


def supporting(circuit: Circuit) -> list[Place]:
    """The features of a graph with positive attributions."""
    return [Place(*node) for node, value in circuit.nodes.items() if node.feature != ERROR and value > 0]


def random_groups(active: Sequence[ActiveFeatures], group: Sequence[Place], draws: int, seed: int) -> list[list[Place]]:
    """Random active features outside the group, as many of each dictionary as it has; none if a dictionary has too few."""
    generator, own = np.random.default_rng([seed, 16]), set(group)
    groups: list[list[Place]] = [[] for _ in range(draws)]
    for number, each in enumerate(active):
        places = zip(each.position.tolist(), each.feature.tolist(), strict=True)
        others = [place for p, f in places if p >= FIRST and (place := Place(number, p, f)) not in own]
        size = sum(place.dictionary == number for place in group)
        if len(others) < size:
            return []
        for drawn in groups:
            drawn += [others[i] for i in generator.choice(len(others), size, replace=False)]
    return groups
