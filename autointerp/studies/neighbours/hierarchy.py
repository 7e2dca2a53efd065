"""The groups of a study: nested, of a minimum size, and which of their members are held out when they are named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from autointerp.studies.neighbours.features import Features
from sae.studies.direction_tree import nested_groups

MOST_GROUPS = 200
HELD_OUT = 0.2
"""Share of a smallest group's members that its name is tested with, at least one."""
_MEAN_SIZE = 4
"""Members of a smallest group on average, as a multiple of the minimum."""

Numbers = NDArray[np.int64]


class Group(NamedTuple):
    """Features of one group."""

    id: str
    """The path from the top, such as `2.1`: the first group within the second of the top level. Larger groups come first."""
    members: tuple[int, ...]
    """Numbers of features."""
    held_out: frozenset[int]
    """Members that the group's name is made without."""
    central: int
    """The member nearest to the members' mean direction."""

    @property
    def level(self) -> int:
        """1 at the top."""
        return self.id.count(".") + 1

    @property
    def parent(self) -> str:
        """The group's id one level up, empty at the top."""
        return self.id.rpartition(".")[0]

    @property
    def named_from(self) -> list[int]:
        """Members that the name is made from."""
        return [number for number in self.members if number not in self.held_out]


@dataclass(frozen=True)
class Hierarchy:
    """Groups of features."""

    population: Numbers
    """The features that were grouped."""
    groups: tuple[Group, ...]
    """Each before its parts."""

    @property
    def levels(self) -> int:
        """Number of levels."""
        return max((group.level for group in self.groups), default=0)

    @property
    def smallest(self) -> list[Group]:
        """The groups of the lowest level. Every grouped feature is in one of them."""
        return [group for group in self.groups if group.level == self.levels]

    def beside(self, group: Group) -> list[Group]:
        """The other groups of a group's level."""
        return [other for other in self.groups if other.level == group.level and other.id != group.id]

    def group_of(self) -> dict[int, str]:
        """The smallest group of each grouped feature."""
        return {number: group.id for group in self.smallest for number in group.members}


def sizes_for(n: int, minimum: int) -> list[int]:
    """How many groups n features are cut into, from the lowest level up, if the user does not say."""
    if n < 2 * minimum:
        return []
    base = int(np.clip(n // (_MEAN_SIZE * minimum), 2, MOST_GROUPS))
    steps = 3 if base >= 27 else 2 if base >= 4 else 1
    return [round(base ** (step / steps)) for step in range(steps, 0, -1)]


def labels_of(features: Features, population: Numbers, sizes: Sequence[int], seed: int) -> Numbers:
    """The group of each feature of the population on each level (levels, n), the lowest level first."""
    rows = features.directions.rows(torch.from_numpy(population))
    return nested_groups(rows, sizes, seed)


def hierarchy_of(features: Features, population: Numbers, labels: Numbers, minimum: int, seed: int) -> Hierarchy:
    """The groups of labels (levels, n). Lowest groups of fewer than `minimum` features are dissolved: their features are in no group."""
    if not len(labels):
        return Hierarchy(population, ())
    frame = pd.DataFrame(labels[::-1].T)
    base = frame.columns[-1]
    frame["number"] = population
    kept = frame[frame.groupby(base)["number"].transform("size") >= minimum]
    generator = np.random.default_rng([seed, 20])
    held_out = {
        number
        for _, part in kept.groupby(base)
        for number in generator.choice(part["number"], max(1, round(HELD_OUT * len(part))), replace=False).tolist()
    }
    groups: list[Group] = []
    _add(groups, features, kept, "", 0, held_out)
    return Hierarchy(population, tuple(groups))


def _add(
    groups: list[Group], features: Features, frame: pd.DataFrame, parent: str, level: int, held_out: set[int]
) -> None:
    """Add the groups of a level within one parent, and those within them."""
    if level not in frame.columns:
        return
    parts = sorted((part for _, part in frame.groupby(level)), key=lambda part: -len(part))
    for place, part in enumerate(parts, 1):
        members = tuple(part["number"].tolist())
        group_id = f"{parent}.{place}" if parent else str(place)
        groups.append(Group(group_id, members, frozenset(held_out.intersection(members)), _central(features, members)))
        _add(groups, features, part, group_id, level + 1, held_out)


def _central(features: Features, members: tuple[int, ...]) -> int:
    rows = features.directions.rows(torch.tensor(members))
    return members[int((rows @ rows.mean(dim=0)).argmax())]
