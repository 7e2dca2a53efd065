"""When enough has been judged: which units and bins need more exemplars, looked at after every round.

Looking again and again and stopping at the first narrow interval picks intervals that came out narrow by luck. A unit whose
first grades are all 3 would stop at [3, 3]: simulated 95% intervals of units then cover 56-94%. Two things mend it, and no
correction of the level is needed beside them: a unit stops only once it has grades beyond the first in a bin, and its
variance within bins is drawn towards that of its kind with the weight of `PRIOR_FREEDOM` degrees of freedom. Means over
units (a bin's, the run's) move so little from look to look that the plain interval holds. Coverage of a unit's interval is
over the units of a kind, not for each one: units in the middle of the scale have a little less, those at its ends more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from autointerp.records import COMPARED, Arm
from autointerp.spec.sections import Adaptive
from autointerp.stats.comparison import MIN_FOR_INTERVAL, scored_rows

PRIOR_FREEDOM = 8.0
"""The weight of the kind's variance within bins in a unit's, in degrees of freedom; chosen by simulation."""


@dataclass(frozen=True)
class Need:
    """What to judge next: `cells` has each unit's bins that need another round. `why` says what was wanted and what holds."""

    cells: Mapping[str, tuple[int, ...]]
    why: tuple[str, ...]

    @property
    def done(self) -> bool:
        """Whether every target is met or out of reach."""
        return not self.cells


class Spread(NamedTuple):
    """A kind's standard deviation between true unit means, and that of grades within a bin of a unit."""

    between: float
    within: float


class Widths(NamedTuple):
    """Half-widths to expect: of a unit's mean, of a bin's mean over units, and of the difference (None without neurons)."""

    unit: float
    bin: float
    run: float | None


def needed(
    judgements: pd.DataFrame, units: pd.DataFrame, targets: Adaptive, *, bins: int, confidence: float, look: int
) -> Need:
    """What the targets still ask for after `look` rounds, each of `targets.per_round` exemplars a cell.

    A cell, a bin of a unit, is needed while a target that was given is missed: the unit's, its bin's, or the run's. A mean
    over units whose spread between units alone is wider than its target is given up, since more exemplars cannot narrow it.
    Before the first look every cell is needed; later, only where the main arm has a row. The caller drops cells without exemplars.
    """
    every = {str(u): tuple(range(1, bins + 1)) for u in units["unit_id"]}
    if not look:
        return Need(every, ("nothing is judged yet",))
    cells, why = cell_table(judgements, units), []
    wanted = pd.Series(False, index=cells.index)
    if targets.unit is not None:
        narrow = unit_intervals(cells, confidence)["half_width"] <= targets.unit
        wide = ~narrow.reindex(cells["unit_id"]).to_numpy(dtype=bool)
        wanted |= wide
        left = cells.loc[wide, "unit_id"].nunique()
        why.append(f"{left} of {len(narrow)} units are not yet known to ±{targets.unit:g}")
    if targets.bin is not None:
        for (kind, bin_), rows in cells.groupby(["kind", "bin"], observed=True):
            missed, words = _verdict(targets.bin, [_mean_spread(rows["mean"], rows["error"])], confidence)
            wanted |= missed & (cells["kind"] == kind) & (cells["bin"] == bin_)
            why += [f"{kind}s in bin {bin_}: {words}"] if words else []
    if targets.run is not None:
        missed, words = _verdict(targets.run, _run_spreads(cells), confidence)
        wanted |= missed & cells["kind"].isin(COMPARED)
        why += [f"the difference: {words}"] if words else []
    chosen = cells.loc[wanted].groupby("unit_id", sort=True)["bin"]
    return Need({str(u): tuple(int(b) for b in sorted(found)) for u, found in chosen}, tuple(why))


def cell_table(judgements: pd.DataFrame, units: pd.DataFrame) -> pd.DataFrame:
    """The main arm by unit and bin: unit_id, kind, bin, n exemplars with a grade, their mean, squares about it, and `error`.

    Repeats are averaged. `error` is the variance of the cell's mean by the variance within bins, drawn together as in
    `unit_intervals`; NaN where no bin of the kind has two. Cells without a grade have n 0 and NaN.
    """
    main = judgements.loc[judgements["arm"].astype("object") == Arm.MAIN.value]
    items = scored_rows(main).groupby(["unit_id", "bin", "exemplar_id"])["score"].mean()
    grouped = items.groupby(level=["unit_id", "bin"])
    cells = grouped.agg(["size", "mean", "var"]).rename(columns={"size": "n"})
    cells["squares"] = cells["var"].fillna(0.0) * (cells["n"] - 1)
    asked = pd.MultiIndex.from_frame(main[["unit_id", "bin"]].drop_duplicates())
    cells = cells.drop(columns="var").reindex(asked).sort_index().reset_index()
    cells["n"] = cells["n"].fillna(0).astype("int64")
    cells["kind"] = cells["unit_id"].map(dict(zip(units["unit_id"], units["kind"], strict=True)))
    variance = _within(cells)["variance"].reindex(cells["unit_id"]).to_numpy()
    cells["error"] = variance / cells["n"].where(cells["n"] > 0)
    return cells


def unit_intervals(cells: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Each unit's bin-uniform mean with a t interval over its exemplars, from `cell_table`.

    Columns mean, ci_low, ci_high, half_width, indexed by unit_id. The variance within bins is taken as one for a unit, and as
    `PRIOR_FREEDOM` parts its kind's average. `half_width` is infinite where the unit has no bin with two exemplars.
    """
    within = _within(cells)
    graded = cells.loc[cells["n"] > 0].groupby("unit_id")
    mean, variance = graded["mean"].mean(), graded["error"].sum() / graded.size() ** 2
    quantile = stats.t.ppf((1 + confidence) / 2, within["freedom"] + PRIOR_FREEDOM)
    half = (pd.Series(quantile, index=within.index) * np.sqrt(variance)).where(within["freedom"] > 0, math.inf)
    half = half.reindex(within.index).fillna(math.inf)
    mean = mean.reindex(within.index)
    return pd.DataFrame({"mean": mean, "ci_low": mean - half, "ci_high": mean + half, "half_width": half})


def spread_of(cells: pd.DataFrame) -> dict[str, Spread]:
    """Each kind's spread as seen, to plan with; kinds with fewer than `MIN_FOR_INTERVAL` units or no bin with two grades are left out."""
    found = {}
    for kind, rows in cells.loc[cells["n"] > 0].groupby("kind"):
        freedom = float((rows["n"] - 1).sum())
        units = rows.groupby("unit_id")
        mean, error = units["mean"].mean(), units["error"].sum() / units.size() ** 2
        if len(mean) >= MIN_FOR_INTERVAL and freedom > 0:
            between = math.sqrt(max(float(mean.var() - error.mean()), 0.0))
            found[str(kind)] = Spread(between, math.sqrt(float(rows["squares"].sum()) / freedom))
    return found


def expected_widths(
    *, features: int, neurons: int, bins: int, per_bin: float, spread: Mapping[str, Spread], confidence: float
) -> Widths:
    """What `per_bin` exemplars in each of `bins` bins of so many units will tell, from each kind's `spread`.

    `unit` and `bin` are those of features. In a bin, units are taken to spread as their means do.
    """
    of = {"feature": features, "neuron": neurons}
    z = float(stats.norm.ppf((1 + confidence) / 2))
    f = spread["feature"]
    unit = z * f.within / math.sqrt(bins * per_bin)
    one = z * math.sqrt((f.between**2 + f.within**2 / per_bin) / features)
    if not neurons:
        return Widths(unit, one, None)
    variance = sum((spread[k].between ** 2 + spread[k].within ** 2 / (bins * per_bin)) / n for k, n in of.items())
    return Widths(unit, one, z * math.sqrt(variance))


def _within(cells: pd.DataFrame) -> pd.DataFrame:
    """By unit: `variance` of a grade within a bin, drawn towards its kind's average, and `freedom`, the unit's own."""
    units = cells.groupby("unit_id").agg(kind=("kind", "first"), squares=("squares", "sum"))
    units["freedom"] = (cells["n"] - 1).clip(lower=0).groupby(cells["unit_id"]).sum().astype("float64")
    own = units["squares"] / units["freedom"].where(units["freedom"] > 0)
    prior = own.groupby(units["kind"]).transform("mean")
    units["variance"] = (units["squares"] + PRIOR_FREEDOM * prior) / (units["freedom"] + PRIOR_FREEDOM)
    return units


class _MeanSpread(NamedTuple):
    """A mean's variance over `n` units, and the part of it that more exemplars would take away."""

    variance: float
    from_items: float
    n: int


def _mean_spread(means: pd.Series[float], errors: pd.Series[float]) -> _MeanSpread:
    n = int(means.notna().sum())
    if n < MIN_FOR_INTERVAL:
        return _MeanSpread(math.inf, 0.0, n)
    # Errors are unknown before a second exemplar: all of the variance may then be theirs.
    within = float(errors.mean()) if bool(errors.notna().any()) else math.inf
    return _MeanSpread(float(means.var()) / n, within / n, n)


def _run_spreads(cells: pd.DataFrame) -> list[_MeanSpread]:
    found = []
    for kind in COMPARED:
        units = cells.loc[(cells["kind"] == kind) & (cells["n"] > 0)].groupby("unit_id")
        found.append(_mean_spread(units["mean"].mean(), units["error"].sum(min_count=1) / units.size() ** 2))
    return found


def _verdict(target: float, parts: list[_MeanSpread], confidence: float) -> tuple[bool, str]:
    """Whether a mean or difference over units needs more exemplars, and in words why it is not known to its target."""
    least = min(part.n for part in parts)
    if least < MIN_FOR_INTERVAL:
        return False, f"{least} units have a grade, too few for an interval"
    variance = sum(part.variance for part in parts)
    if variance <= 0:
        return False, ""
    freedom = variance**2 / sum(part.variance**2 / (part.n - 1) for part in parts)
    quantile = float(stats.t.ppf((1 + confidence) / 2, freedom))
    half = quantile * math.sqrt(variance)
    if half <= target:
        return False, ""
    floor = quantile * math.sqrt(max(sum(part.variance - part.from_items for part in parts), 0.0))
    if floor > target:
        return False, f"±{half:.2g}, and no number of exemplars brings it below ±{floor:.2g}: take more units"
    return True, f"±{half:.2g}, wanted ±{target:g}"
