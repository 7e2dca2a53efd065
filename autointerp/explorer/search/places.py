"""Where features lie on the map, and the values that colour them, as compact JSON that is written once for each open index."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from autointerp.errors import UsageError
from autointerp.explorer.index.folder import MAP, IndexFolder
from autointerp.explorer.index.schema import LIVE, MOST_ON_MAP, PROPAGATED
from autointerp.explorer.search.columns import Columns
from autointerp.formatting import four_digits

VALUES = ("density", "events", "maximum", "mean", "grade", "distinction", "probability", "label")
"""What a map can be coloured by, beside clusters."""
LABELS = ("none", PROPAGATED, LIVE, "run")
"""Kinds of leading labels: where the explanation is from. A value of `label` is the place of the kind."""
SIDE = 10_000
"""Steps along each side of the map, which is a square."""


class Places:
    """The map of an open index, without a point if it has none."""

    def __init__(self, folder: IndexFolder, columns: Callable[[], Columns]) -> None:
        self._folder, self._columns = folder, columns
        table = folder.table(MAP)
        self.why_none = "" if len(table) else _no_map(folder.about.n_features)
        self.rows: NDArray[np.int64] = table["row"].to_numpy()
        at = np.column_stack([table["x"].to_numpy(), table["y"].to_numpy()]).astype(np.float64)
        self._cluster = table["cluster"]
        self._least = at.min(axis=0, initial=np.inf)
        self._scale = (SIDE - 1) / max(float((at - self._least).max(initial=0)), 1e-9)
        self._at = self._steps(at)
        self.values = lru_cache(maxsize=len(VALUES))(self._values)

    @cached_property
    def drawn(self) -> bytes:
        """All points and clusters: `rows` is the number of points if theirs are 0, 1, 2 and so on; `x` and `y` are steps from 0 to `side`;
        `why_none` says why there are none."""
        n = len(self.rows)
        clusters = []
        for cluster in self._folder.clusters() if n else []:
            x, y = self._steps(np.array([[cluster.x, cluster.y]]))[0].tolist()
            clusters.append({"cluster": cluster.cluster, "name": cluster.name, "size": cluster.size, "x": x, "y": y})
        return _written(
            {
                "rows": n if np.array_equal(self.rows, np.arange(n)) else self.rows.tolist(),
                "why_none": self.why_none,
                "side": SIDE,
                "x": self._at[:, 0].tolist(),
                "y": self._at[:, 1].tolist(),
                "cluster": self._cluster.to_pylist(),
                "clusters": clusters,
            }
        )

    def _values(self, name: str) -> bytes:
        """A column of `VALUES` for all points, in their order, with null for no value. Raises `UsageError` for another name."""
        if name not in VALUES:
            raise UsageError(f"column={name[:40]!r} is no column of the map: give one of {', '.join(VALUES)}")
        columns = self._columns()
        if name == "label":
            return _written({"values": self._kinds()[self.rows].tolist(), "kinds": LABELS})
        values = columns.numbers[name][self.rows].tolist()
        return _written({"values": [four_digits(value) for value in values]})

    def _kinds(self) -> NDArray[np.int64]:
        """The place in `LABELS` of each unit's leading label."""
        columns = self._columns()
        sources = columns.labels["source"]
        kinds = np.append(
            np.where(pc.equal(sources, PROPAGATED), 1, np.where(pc.equal(sources, LIVE), 2, 3)).astype(np.int64), 0
        )
        found: NDArray[np.int64] = kinds[columns.label]
        return found

    def _steps(self, at: NDArray[np.float64]) -> NDArray[np.int64]:
        steps: NDArray[np.int64] = ((at - self._least) * self._scale).round().astype(np.int64)
        return steps


def _no_map(n_features: int) -> str:
    if n_features > MOST_ON_MAP:
        return f"This index has no map: it has {n_features:,} features, and a map shows at most {MOST_ON_MAP:,}. The search finds all of them."
    return "This index has no map: its features are too few, or too seldom active to know which of them are alike."


def _written(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
