"""Bin-uniform means: the mean of a kind in each activation bin, over the units that have the bin, and then over bins.

Units differ in the bins that they have: one with few strong activations lacks the middle. A mean over each unit's own bins
therefore differs between kinds that have the same grades in every bin. Averaging over units first and over bins afterwards removes this:
the difference is the mean of the differences within bins. If all units have all bins, it equals the difference of unit means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autointerp.records import COMPARED

Floats = NDArray[np.float64]

MIN_UNITS = 5
"""A bin is compared if at least this many units of each kind have a grade in it, or half of the kind's units if that is less."""


class Grades(NamedTuple):
    """Mean grades in the main arm of one run."""

    table: Mapping[str, pd.DataFrame]
    """By kind, mean grades with one row per unit with a grade and one column per bin; NaN where a unit has no grade."""
    compared: tuple[int, ...]
    """The bins in which enough units of every kind have a grade."""
    left_out: tuple[int, ...]
    """The bins in which too few units of some kind have a grade."""

    def only(self, bins: Sequence[int]) -> Grades:
        """The same grades, with these bins compared."""
        return self._replace(compared=tuple(bins), left_out=tuple(b for b in self.left_out if b not in bins))

    def of(self, kind: str) -> pd.DataFrame:
        """The grades of a kind in the compared bins, without units that have none there."""
        return self.table[kind].reindex(columns=list(self.compared)).dropna(how="all")


def grades_of(cells: pd.Series[float], kinds: Mapping[str, str], bins: Sequence[int]) -> Grades:
    """The grades of features and neurons from cell means of one arm, indexed by (unit_id, bin). `kinds` is by unit_id."""
    wide = cells.unstack("bin").reindex(columns=list(bins)).dropna(how="all")
    of_unit = wide.index.map(kinds.get)
    return compared_grades({kind: wide.loc[of_unit == kind].sort_index() for kind in COMPARED})


def compared_grades(table: Mapping[str, pd.DataFrame]) -> Grades:
    """The grades by kind, and the bins in which they can be compared. Kinds without a grade do not decide on the bins."""
    graded = [rows for rows in table.values() if len(rows)]
    bins = [int(b) for b in graded[0].columns] if graded else []
    enough = [rows.notna().sum() >= min(MIN_UNITS, (len(rows) + 1) // 2) for rows in graded]
    compared = tuple(b for b in bins if all(found[b] for found in enough))
    return Grades(table, compared, tuple(b for b in bins if b not in compared))


def unit_values(grades: pd.DataFrame) -> Floats:
    """One value per unit, whose mean is the bin-uniform mean and whose standard error is that of the bin-uniform mean.

    With m_b the mean of bin b over its n_b units, m the mean of all B bins and n the number of units, the value of a unit is
    m + n / B * sum over its bins of (grade - m_b) / n_b * sqrt(n_b (n - 1) / (n (n_b - 1))): the influence of the unit on the mean. The
    root makes the variance of a single bin unbiased. If all units have all bins, the value is the unit's mean.
    """
    values = grades.to_numpy(dtype=np.float64)
    n, has = len(values), np.isfinite(values)
    in_bin = has.sum(axis=0)
    of_bin = np.where(has, values, 0.0).sum(axis=0) / in_bin
    # A bin with one unit has no deviation from its mean: its weight does not matter.
    weight = n / in_bin.size / in_bin * np.sqrt(in_bin * (n - 1) / (n * np.maximum(in_bin - 1, 1)))
    return np.asarray(of_bin.mean() + np.where(has, (values - of_bin) * weight, 0.0).sum(axis=1), dtype=np.float64)


def difference(grades: Grades) -> float | None:
    """The mean over compared bins of the features' mean minus the neurons'; None if no bin is compared or a kind has no grade."""
    features, neurons = (grades.of(kind).mean() for kind in COMPARED)
    value = float((features - neurons).mean(skipna=False)) if len(grades.compared) else float("nan")
    return value if np.isfinite(value) else None


def with_absent(grades: Grades, absent: Mapping[str, Mapping[str, float]]) -> Grades:
    """The grades with units that have none added: `absent` holds, by kind, the grade of each such unit in every compared bin."""
    table = dict(grades.table)
    for kind, values in absent.items():
        rows = pd.DataFrame({b: pd.Series(values, dtype="float64") for b in grades.compared})
        table[kind] = pd.concat([table[kind], rows]).astype("float64") if len(rows) else table[kind]
    return grades._replace(table=table)
