"""Curves of presence against frequency: one for each dictionary, and one for all of them with frequency times alive features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from autointerp.stats.presence_curve import PresenceCurve, fit

RESCALED = "all, rescaled"
WAYS = {"found": "activation", "judged": "judge"}
"""Columns of the table of concepts, and what decides in each."""


@dataclass(frozen=True)
class NamedCurve:
    """The curve of a dictionary, or of all with the frequency in units of 1 / (alive features).

    `way`: `found` or `judged`. `alive`: the dictionary's alive features, None of the common curve. `rows`: the concepts that the curve is fitted to.
    """

    name: str
    way: str
    alive: int | None
    curve: PresenceCurve
    rows: pd.DataFrame

    def power(self, x: float | None) -> float | None:
        """A point of the axis as a frequency, or as a multiple of 1 / (alive features); None if it is open."""
        return None if x is None or not np.isfinite(x) else float(10**x)

    def times_alive(self, x: float | None) -> float | None:
        """A point of the axis in units of 1 / (alive features)."""
        value = self.power(x)
        return value if value is None or self.alive is None else value * self.alive

    @property
    def record(self) -> dict[str, object]:
        """The curve as a row of a table; empty ends of an interval are open."""
        curve = self.curve
        own = self.power if self.alive is not None else (lambda x: None)
        return {
            "curve": self.name,
            "by": WAYS[self.way],
            "alive": self.alive,
            "concepts": curve.n,
            "present": curve.n_present,
            "midpoint": own(curve.midpoint),
            "midpoint_low": own(curve.low),
            "midpoint_high": own(curve.high),
            "times_alive": self.times_alive(curve.midpoint),
            "times_alive_low": self.times_alive(curve.low),
            "times_alive_high": self.times_alive(curve.high),
            "slope": curve.slope,
            "shape": curve.shape,
        }


def curves(table: pd.DataFrame, alive: Mapping[str, int], way: str) -> list[NamedCurve]:
    """The curves by one way, from the table of concepts: each dictionary's, then the common one if there are several.

    Concepts that the corpus does not contain have no logarithm, and those with ambiguous names no frequency of their own: both are left out,
    which does not bias the curve, because the choice depends on frequency alone.
    """
    usable = table[(table["count"] > 0) & ~table["ambiguous"] & table[way].notna()]
    usable = usable.assign(present=usable[way].astype(bool))
    found = []
    for name, n in alive.items():
        rows = usable[usable["dictionary"] == name].assign(x=lambda t: np.log10(t["frequency"]))
        found.append(NamedCurve(name, way, n, fit(rows["x"], rows["present"]), rows))
    if len(alive) > 1:
        rows = usable.assign(x=np.log10(usable["frequency"] * usable["dictionary"].map(alive)))
        groups = rows["list"] + "/" + rows["concept"]
        curve = fit(rows["x"], rows["present"], groups=groups.to_numpy(dtype=str))
        found.append(NamedCurve(RESCALED, way, None, curve, rows))
    return found
