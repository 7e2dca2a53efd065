"""Adaptive stopping: which units and bins need more exemplars, decided after every round of judging.

Looking repeatedly and stopping at the first narrow interval selects intervals that are narrow by luck. A unit whose first grades
are all 3 would stop at [3, 3]: in simulation, 95% intervals of units then cover 56-94%. Two rules prevent this without a corrected
confidence level: a unit stops only once some bin has a second graded exemplar, and its variance within bins is shrunk towards
the average of its kind with the weight of `PRIOR_FREEDOM` degrees of freedom. Exemplars of one document are not independent: their
correlation within a unit, `stats.document_spread`, widens the interval of the unit. Means over units (of a bin, of the run) change so
little between looks that the plain interval holds. The coverage of a unit's interval is an average over the units of a kind: it
is slightly lower for units in the middle of the scale and higher for those at its ends.
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
from autointerp.stats import document_spread
from autointerp.stats.comparison import MIN_FOR_INTERVAL, scored_rows

PRIOR_FREEDOM = 8.0
"""Weight, in degrees of freedom, of the kind's average variance in each unit's variance within bins; chosen by simulation."""


@dataclass(frozen=True)
class Need:
    """What still needs judging."""

    cells: Mapping[str, tuple[int, ...]]
    """By unit, the bins that need another round."""
    why: tuple[str, ...]
    """One sentence for each target that is not met."""

    @property
    def done(self) -> bool:
        """Whether every target is met or cannot be met with more exemplars."""
        return not self.cells


class Spread(NamedTuple):
    """Standard deviations of one kind of unit."""

    between: float
    """Between the true means of units."""
    within: float
    """Between the grades of one bin of a unit."""


class Widths(NamedTuple):
    """Expected half-widths of intervals."""

    unit: float
    """Of the mean of one feature."""
    bin: float
    """Of the mean over features in one bin."""
    run: float | None
    """Of the difference between features and neurons; None without neurons."""


def needed(
    judgements: pd.DataFrame, units: pd.DataFrame, targets: Adaptive, *, bins: int, confidence: float, look: int
) -> Need:
    """The cells that need more exemplars to meet the targets, after `look` rounds of `targets.per_round` exemplars per cell.

    A cell is one bin of one unit. It is needed while any target that the spec sets is missed: that of its unit, of its bin, or of the
    run. A mean over units is given up if the spread between units alone makes its interval wider than the target, because more
    exemplars cannot narrow it. Before the first look every cell is needed; later, only cells with a judgement in the main arm. The
    caller drops cells that have no exemplars left.
    """
    all_cells = {str(u): tuple(range(1, bins + 1)) for u in units["unit_id"]}
    if not look:
        return Need(all_cells, ("nothing has been judged yet",))
    cells, why = cell_table(judgements, units), []
    is_needed = pd.Series(False, index=cells.index)
    if targets.unit is not None:
        narrow = unit_intervals(cells, confidence)["half_width"] <= targets.unit
        wide = ~narrow.reindex(cells["unit_id"]).to_numpy(dtype=bool)
        is_needed |= wide
        n_wide = cells.loc[wide, "unit_id"].nunique()
        why.append(f"{n_wide} of {len(narrow)} units have an interval wider than ±{targets.unit:g}")
    if targets.bin is not None:
        for (kind, bin_), rows in cells.groupby(["kind", "bin"], observed=True):
            more, reason = _needs_more(targets.bin, [_mean_spread(rows["mean"], rows["error"])], confidence)
            is_needed |= more & (cells["kind"] == kind) & (cells["bin"] == bin_)
            why += [f"{kind}s in bin {bin_}: {reason}"] if reason else []
    if targets.run is not None:
        more, reason = _needs_more(targets.run, _run_spreads(cells), confidence)
        is_needed |= more & cells["kind"].isin(COMPARED)
        why += [f"the difference: {reason}"] if reason else []
    needed_bins = cells.loc[is_needed].groupby("unit_id", sort=True)["bin"]
    return Need({str(u): tuple(int(b) for b in sorted(found)) for u, found in needed_bins}, tuple(why))


def cell_table(judgements: pd.DataFrame, units: pd.DataFrame) -> pd.DataFrame:
    """The main arm by unit and bin, with the columns unit_id, kind, bin, n, mean, squares, error, freedom and unit_error.

    `n` counts exemplars with a grade, repeats averaged; `squares` is the sum of squares about their mean. `error` is the variance of
    the mean, and `unit_error` that of the mean of the unit's bins: the unit's variance within bins, shrunk towards the average of its
    kind, times a factor of the numbers of exemplars and, if `judgements` has the column `document`, of their documents. They are
    NaN if no bin of the kind has two graded exemplars. `freedom` is the degrees of freedom of the unit's own variance. Cells without
    a grade have n = 0 and NaN in the other columns of the cell.
    """
    main = judgements.loc[judgements["arm"].astype("object") == Arm.MAIN.value]
    keys = ["unit_id", "bin", "exemplar_id", *(["document"] if "document" in main else [])]
    items = scored_rows(main).groupby(keys)["score"].mean().reset_index()
    kinds = dict(zip(units["unit_id"], units["kind"], strict=True))
    cells = items.groupby(["unit_id", "bin"])["score"].agg(["size", "mean", "var"]).rename(columns={"size": "n"})
    cells["squares"] = cells["var"].fillna(0.0) * (cells["n"] - 1)
    judged = pd.MultiIndex.from_frame(main[["unit_id", "bin"]].drop_duplicates())
    cells = cells.drop(columns="var").reindex(judged).sort_index().reset_index()
    cells["n"] = cells["n"].fillna(0).astype("int64")
    cells["kind"] = cells["unit_id"].map(kinds)
    found, correlation = document_spread.spreads(items, kinds)
    found["variance"] = _shrunk(found)
    of_unit = found.reindex(cells["unit_id"])
    document = items["document"] if "document" in items else items["exemplar_id"]
    share = items.groupby(["unit_id", "bin", document]).size().pow(2).groupby(level=[0, 1]).sum()
    alike = share.reindex(pd.MultiIndex.from_frame(cells[["unit_id", "bin"]])).to_numpy()
    rho = cells["kind"].map(correlation).to_numpy(dtype=float)
    n = cells["n"].where(cells["n"] > 0)
    cells["error"] = of_unit["variance"].to_numpy() * ((1 - rho) / n + rho * alike / n**2)
    cells["unit_error"] = (of_unit["variance"] * of_unit["factor"]).to_numpy()
    cells["freedom"] = of_unit["freedom"].fillna(0.0).to_numpy()
    return cells


def unit_intervals(cells: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Each unit's bin-uniform mean with a t interval over its documents, from the result of `cell_table`.

    The columns are mean, ci_low, ci_high and half_width, indexed by unit_id. A unit has one variance within bins, shrunk towards the
    average of its kind. `half_width` is infinite if no bin of the unit has two graded exemplars.
    """
    by_unit = cells.groupby("unit_id")
    mean, freedom = by_unit["mean"].mean(), by_unit["freedom"].first()
    quantile = pd.Series(stats.t.ppf((1 + confidence) / 2, freedom + PRIOR_FREEDOM), index=freedom.index)
    half = (quantile * np.sqrt(by_unit["unit_error"].first())).where(freedom > 0, math.inf).fillna(math.inf)
    return pd.DataFrame({"mean": mean, "ci_low": mean - half, "ci_high": mean + half, "half_width": half})


def spread_of(cells: pd.DataFrame) -> dict[str, Spread]:
    """The observed spread of each kind, for planning.

    Kinds with fewer than `MIN_FOR_INTERVAL` units, or without a bin that has two grades, are left out. The variance between true
    means is that of the observed means minus their mean error variance, or 0 if that is negative.
    """
    spreads = {}
    for kind, rows in cells.loc[cells["n"] > 0].groupby("kind"):
        freedom = float((rows["n"] - 1).sum())
        units = rows.groupby("unit_id")
        mean, error = units["mean"].mean(), units["unit_error"].first()
        if len(mean) >= MIN_FOR_INTERVAL and freedom > 0:
            between = math.sqrt(max(float(mean.var() - error.mean()), 0.0))
            spreads[str(kind)] = Spread(between, math.sqrt(float(rows["squares"].sum()) / freedom))
    return spreads


def expected_widths(
    *, features: int, neurons: int, bins: int, per_bin: float, spread: Mapping[str, Spread], confidence: float
) -> Widths:
    """The half-widths to expect from `per_bin` exemplars in each of `bins` bins of these many features and neurons.

    `spread` holds the spread of each kind. The result's `unit` and `bin` are those of features. Within one bin, units are assumed to
    spread as much as their means do.
    """
    n_units = {"feature": features, "neuron": neurons}
    z = float(stats.norm.ppf((1 + confidence) / 2))
    f = spread["feature"]
    unit = z * f.within / math.sqrt(bins * per_bin)
    one_bin = z * math.sqrt((f.between**2 + f.within**2 / per_bin) / features)
    if not neurons:
        return Widths(unit, one_bin, None)
    variance = sum((spread[k].between ** 2 + spread[k].within ** 2 / (bins * per_bin)) / n for k, n in n_units.items())
    return Widths(unit, one_bin, z * math.sqrt(variance))


def _shrunk(spreads: pd.DataFrame) -> pd.Series[float]:
    """The variance of a grade within a bin of each unit, shrunk towards the average of its kind.

    variance = (freedom * own + PRIOR_FREEDOM * prior) / (freedom + PRIOR_FREEDOM), where prior is the mean of the kind's own ones.
    """
    own, freedom = spreads["variance"], spreads["freedom"]
    prior = own.groupby(spreads["kind"]).transform("mean")
    return (own.fillna(0.0) * freedom + PRIOR_FREEDOM * prior) / (freedom + PRIOR_FREEDOM)


class _MeanSpread(NamedTuple):
    """The variance of a mean over units."""

    variance: float
    from_items: float
    """The part of the variance that more exemplars would remove."""
    n: int
    """Number of units."""


def _mean_spread(means: pd.Series[float], errors: pd.Series[float]) -> _MeanSpread:
    n = int(means.notna().sum())
    if n < MIN_FOR_INTERVAL:
        return _MeanSpread(math.inf, 0.0, n)
    # Before a second exemplar the errors are unknown, and all of the variance may come from the exemplars.
    within = float(errors.mean()) if bool(errors.notna().any()) else math.inf
    return _MeanSpread(float(means.var()) / n, within / n, n)


def _run_spreads(cells: pd.DataFrame) -> list[_MeanSpread]:
    """The spread of the mean of features and of that of neurons."""
    spreads = []
    for kind in COMPARED:
        units = cells.loc[(cells["kind"] == kind) & (cells["n"] > 0)].groupby("unit_id")
        spreads.append(_mean_spread(units["mean"].mean(), units["unit_error"].first()))
    return spreads


def _needs_more(target: float, parts: list[_MeanSpread], confidence: float) -> tuple[bool, str]:
    """Whether a mean or difference over units needs more exemplars, and the reason why its interval is wider than the target."""
    n_least = min(part.n for part in parts)
    if n_least < MIN_FOR_INTERVAL:
        return False, f"{n_least} units have a grade, too few for an interval"
    variance = sum(part.variance for part in parts)
    if variance <= 0:
        return False, ""
    # Degrees of freedom by Welch and Satterthwaite.
    freedom = variance**2 / sum(part.variance**2 / (part.n - 1) for part in parts)
    quantile = float(stats.t.ppf((1 + confidence) / 2, freedom))
    half = quantile * math.sqrt(variance)
    if half <= target:
        return False, ""
    floor = quantile * math.sqrt(max(sum(part.variance - part.from_items for part in parts), 0.0))
    if floor > target:
        return False, f"±{half:.2g}, and no number of exemplars brings it below ±{floor:.2g}: take more units"
    return True, f"±{half:.2g}, the target is ±{target:g}"
