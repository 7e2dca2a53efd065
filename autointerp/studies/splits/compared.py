"""Dictionaries with their firings and matches, and the names and explanations of their features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from autointerp.studies.workbench import Studied
from sae.studies.firing import Firings, Sampled
from sae.studies.matching import Matches, Side

Pair = tuple[int, int]
"""Numbers of two dictionaries."""


@dataclass(frozen=True)
class Compared:
    """Dictionaries from the smallest to the largest. `matches[i, j]` are those of the features of dictionary i with dictionary j, and
    `chance[i, j]` is the cosine with a nearest feature that 1% exceed by chance."""

    studied: tuple[Studied, ...]
    sides: tuple[Side, ...]
    sampled: Sampled
    matches: Mapping[Pair, Matches]
    chance: Mapping[Pair, float]
    probe: Firings | None = None
    """Where a probe of the user's texts says that its concept holds."""

    def __len__(self) -> int:
        return len(self.studied)

    def name(self, number: int) -> str:
        """Name of a dictionary."""
        return self.studied[number].name

    def explanation(self, number: int, feature: int) -> str:
        """A feature's explanation, or an empty text."""
        return self.studied[number].explanation(unit_id(feature))

    def others(self, number: int) -> list[Matches]:
        """The matches of a dictionary's features with each other dictionary."""
        return [self.matches[number, other] for other in range(len(self)) if other != number]


def unit_id(feature: int) -> str:
    """The unit id of a feature."""
    return f"feature-{feature}"
