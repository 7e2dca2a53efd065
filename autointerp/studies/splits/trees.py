"""Trees: the features of a smaller dictionary, and those of the next larger one that they become."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from autointerp.studies.finding import Listing
from autointerp.studies.splits.compared import Compared, unit_id
from sae.studies import splitting
from sae.studies.splitting import NONE, Parents

_SHOWN_CHILDREN = 8


@dataclass(frozen=True, eq=False)
class Level:
    """Two dictionaries of successive sizes, by number, and the parents of the larger one's features in the smaller one."""

    smaller: int
    larger: int
    parents: Parents
    children: dict[int, list[int]]

    def most_split(self, n: int) -> list[int]:
        """The parents with the most children, two at least."""
        split = [parent for parent, children in self.children.items() if len(children) > 1]
        return sorted(split, key=lambda parent: (-len(self.children[parent]), parent))[:n]

    def values(self, compared: Compared) -> dict[str, Any]:
        """How many features split, stay one, or are not found; and how many are new."""
        fires, new = compared.sides[self.smaller].fires, compared.sides[self.larger].fires
        sizes = np.array([len(self.children.get(f, ())) for f in np.flatnonzero(fires).tolist()], dtype=np.int64)
        return {
            "smaller": compared.name(self.smaller),
            "larger": compared.name(self.larger),
            "features": len(sizes),
            "children": np.bincount(sizes, minlength=2).tolist(),
            "split": int((sizes > 1).sum()),
            "one": int((sizes == 1).sum()),
            "lost": int((sizes == 0).sum()),
            "larger_features": int(new.sum()),
            "new": int(((self.parents.parent == NONE) & new).sum()),
        }


def levels(compared: Compared, cosine: float) -> list[Level]:
    """The levels of the tree. Of dictionaries of one size, the first takes part."""
    sizes = [side.dictionary.d_sae for side in compared.sides]
    numbers = [number for number, size in enumerate(sizes) if size not in sizes[:number]]
    found = []
    for smaller, larger in pairwise(numbers):
        parents = splitting.parents(compared.sides[larger], compared.sides[smaller], cosine)
        found.append(Level(smaller, larger, parents, parents.children()))
    return found


def splits(compared: Compared, levels: list[Level]) -> Listing:
    """The parents with two or more children, those with the most first."""
    rows = [
        {
            "unit_id": unit_id(parent),
            "dictionary": compared.name(level.smaller),
            "explanation": compared.explanation(level.smaller, parent),
            "n_children": len(children),
            "covered": splitting.covered(compared.sides[level.smaller], parent, compared.sides[level.larger], children),
            "larger": compared.name(level.larger),
            "children": "; ".join(_children(compared, level, children)),
        }
        for level in levels
        for parent in level.most_split(len(level.children))
        for children in [level.children[parent]]
    ]
    columns = {
        "unit_id": "feature", "dictionary": "of", "explanation": "explanation", "n_children": "children", "covered": "tokens covered",
        "larger": "in", "children": "children",
    }  # fmt: skip
    frame = pd.DataFrame(rows, columns=list(columns))
    return Listing("splits", "Features that split, with the features that they split into", frame, columns)


def edges(compared: Compared, levels: list[Level]) -> Listing:
    """Every parent with every child."""
    rows = [
        {
            "parent": f"{compared.name(level.smaller)}:{unit_id(parent)}",
            "parent_explanation": compared.explanation(level.smaller, parent),
            "child": f"{compared.name(level.larger)}:{unit_id(child)}",
            "child_explanation": compared.explanation(level.larger, child),
            "cosine": float(level.parents.cosine[child]),
            "inside": float(level.parents.inside[child]),
            "n_children": len(children),
        }
        for level in levels
        for parent, children in sorted(level.children.items())
        for child in children
    ]
    columns = {
        "parent": "parent", "parent_explanation": "its explanation", "child": "child", "child_explanation": "its explanation",
        "cosine": "cosine", "inside": "child's tokens inside", "n_children": "children",
    }  # fmt: skip
    frame = pd.DataFrame(rows, columns=list(columns))
    return Listing("tree", "Parents and children", frame, columns, rows=10)


def _children(compared: Compared, level: Level, children: list[int]) -> Iterator[str]:
    for child in children[:_SHOWN_CHILDREN]:
        explanation = compared.explanation(level.larger, child)
        yield unit_id(child) + (f": {explanation}" if explanation else "")
    if len(children) > _SHOWN_CHILDREN:
        yield f"and {len(children) - _SHOWN_CHILDREN} more"
