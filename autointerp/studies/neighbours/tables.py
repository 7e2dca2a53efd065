"""The tables of a study of neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autointerp.studies.finding import Listing
from autointerp.studies.neighbours.assignment import Trial
from autointerp.studies.neighbours.features import Features
from autointerp.studies.neighbours.hierarchy import Group, Hierarchy
from autointerp.studies.neighbours.layout import Layout

Numbers = NDArray[np.int64]


def nearest_frame(features: Features, of: Numbers, numbers: Numbers, cosines: NDArray[np.float32]) -> pd.DataFrame:
    """The nearest lists of the features `of`, one row a neighbour: `numbers` and `cosines` are (features, n)."""
    row, column = np.nonzero(numbers >= 0)
    unit, neighbour = of[row], numbers[row, column]
    names, explanations = np.array(features.names, dtype=object), np.array(features.explanations, dtype=object)
    columns = {
        "unit": names[unit],
        "rank": column + 1,
        "neighbour": names[neighbour],
        "cosine": cosines[row, column],
        "explanation": explanations[unit],
        "neighbour_explanation": explanations[neighbour],
    }
    return pd.DataFrame(columns)


def nearest(frame: pd.DataFrame, n_units: int) -> Listing:
    """The nearest lists of chosen features, all of them shown."""
    return Listing(
        "neighbours",
        "Nearest features by the cosine of their directions",
        frame,
        _NEAREST,
        rows=min(len(frame), 20 * n_units),
    )


def closest(frame: pd.DataFrame) -> Listing:
    """All nearest lists in one table, of which the closest pairs are shown."""
    first = frame[frame["rank"] == 1].sort_values("cosine", ascending=False, kind="stable")
    pairs = pd.Series(map(frozenset, zip(first["unit"], first["neighbour"], strict=True)), index=first.index)
    first = first[~pairs.duplicated()].head(200)
    caption = "The closest pairs of features by the cosine of their directions"
    return Listing("closest", caption, first.reset_index(drop=True), _NEAREST)


def groups(
    hierarchy: Hierarchy,
    names: Mapping[str, str],
    trials: Sequence[Trial],
    chosen: Sequence[str | None],
    features: Features,
) -> Listing:
    """The groups, each before its parts."""
    right: dict[str, list[bool]] = {}
    for trial, choice in zip(trials, chosen, strict=True):
        if choice is not None:
            right.setdefault(trial.group, []).append(choice == trial.group)

    def tried(group: Group) -> list[bool]:
        """Whether the members that were tried, of the group and of those within it, were assigned rightly."""
        return [each for g, of in right.items() if f"{g}.".startswith(f"{group.id}.") for each in of]

    frame = pd.DataFrame(
        [
            {
                "group": group.id,
                "level": group.level,
                "parent": group.parent,
                "name": names[group.id],
                "features": len(group.members),
                "central": features.names[group.central],
                "held_out": len(tried(group)),
                "right": sum(tried(group)),
            }
            for group in hierarchy.groups
        ]
    )
    shown = {
        "group": "group", "name": "name", "features": "features", "central": "central feature", "held_out": "held out",
        "right": "assigned rightly",
    }  # fmt: skip
    return Listing("groups", "Groups of features, each before its parts", frame, shown, rows=60)


def members(hierarchy: Hierarchy, features: Features) -> Listing:
    """The features that were grouped, with the smallest group of each; empty for those in no group."""
    group_of = hierarchy.group_of()
    held_out = {number for group in hierarchy.smallest for number in group.held_out}
    rows = [
        (features.names[n], group_of.get(n, ""), n in held_out, features.explanations[n])
        for n in hierarchy.population.tolist()
    ]
    frame = pd.DataFrame(rows, columns=["unit", "group", "held_out", "explanation"])
    frame = frame.sort_values("group", kind="stable")
    shown = {"unit": "unit", "group": "group", "explanation": "explanation"}
    return Listing("members", "Features of the groups", frame, shown, rows=10)


def points(layout: Layout, features: Features, hierarchy: Hierarchy) -> Listing:
    """The features on the map."""
    group_of = hierarchy.group_of()
    rows = [
        (features.names[n], float(at[0]), float(at[1]), group_of.get(n, ""), features.explanations[n])
        for n, at in zip(layout.numbers.tolist(), layout.at, strict=True)
    ]
    frame = pd.DataFrame(rows, columns=["unit", "x", "y", "group", "explanation"])
    return Listing(
        "points", "Features on the map", frame, {"unit": "unit", "x": "x", "y": "y", "group": "group"}, rows=5
    )


_NEAREST = {
    "unit": "unit", "neighbour": "neighbour", "cosine": "cosine", "explanation": "explanation",
    "neighbour_explanation": "neighbour's explanation",
}  # fmt: skip
