"""The measures by which runs are compared, each as weighted grades (see `stats.two_way`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import pandas as pd

from autointerp.comparisons.finished_run import FinishedRun
from autointerp.comparisons.pairing import Matched, Side
from autointerp.records import COMPARED, Arm
from autointerp.stats import bin_uniform
from autointerp.stats.two_way import Observations

NEIGHBOUR = "neighbour"
"""The arm of windows in which a neighbour of the unit is active."""
_COLUMNS = ["value", "weight", "stratum", "kind", "unit_id", "document"]

Weigh = Callable[[pd.DataFrame, Sequence[int]], pd.DataFrame]
"""Weights the items of one kind in one run, given the activation bins that are compared."""


@dataclass(frozen=True)
class Measure:
    """A figure of a run, whose difference between runs is estimated."""

    name: str
    title: str
    kinds: tuple[tuple[str, int], ...]
    """Kinds of units and the sign with which they count."""
    weigh: Weigh | None = None
    """None for the column `distinction` of the units."""
    scale: Literal["grades", "share"] = "grades"


def by_bin(items: pd.DataFrame, bins: Sequence[int]) -> pd.DataFrame:
    """The main arm's mean grade: over units in each bin, and then over bins, as in the headline."""
    rows = items.loc[(items["arm"] == Arm.MAIN.value) & items["bin"].isin(bins)]
    in_cell = rows.groupby(["unit_id", "bin"])["score"].transform("size")
    in_bin = rows.groupby("bin")["unit_id"].transform("nunique")
    return _rows(rows, 1 / (in_cell * in_bin * len(bins)), rows["bin"])


def minus_arm(arm: str, items: pd.DataFrame, bins: Sequence[int]) -> pd.DataFrame:
    """The main arm's mean grade minus another arm's: over bins and then over the units that have both.

    If the other arm has grades in activation bins, both count in the bins of the unit that both have.
    """
    own, other = (items.loc[items["arm"] == name] for name in (Arm.MAIN.value, arm))
    keys = ["unit_id", "bin"] if bool((other["bin"] > 0).any()) else ["unit_id"]
    own = own.merge(other[keys].drop_duplicates(), on=keys)
    other = other.merge(own[keys].drop_duplicates(), on=keys)
    n = max(own["unit_id"].nunique(), 1)
    parts = []
    for sign, rows in ((1, own), (-1, other)):
        in_cell = rows.groupby(["unit_id", "bin"])["score"].transform("size")
        bins_of_unit = rows.groupby("unit_id")["bin"].transform("nunique")
        parts.append(_rows(rows, sign / (in_cell * bins_of_unit * n), pd.Series(sign, rows.index)))
    return pd.concat(parts, ignore_index=True)


MEASURES = (
    Measure("grade", "mean grade of features", (("feature", 1),), by_bin),
    Measure(
        "shuffled",
        "features: own explanation minus another's",
        (("feature", 1),),
        partial(minus_arm, Arm.SHUFFLED.value),
    ),
    Measure(
        "base_rate", "features: active minus silent windows", (("feature", 1),), partial(minus_arm, Arm.BASE_RATE.value)
    ),
    Measure(NEIGHBOUR, "features: own minus neighbours' windows", (("feature", 1),), partial(minus_arm, NEIGHBOUR)),
    Measure("distinction", "features told from their neighbours", (("feature", 1),), scale="share"),
    Measure("headline", "features minus neurons", (("feature", 1), ("neuron", -1)), by_bin),
    Measure("neurons", "mean grade of neurons", (("neuron", 1),), by_bin),
)


def compared_bins(tables: Sequence[pd.DataFrame]) -> list[int]:
    """The bins in which enough units of every table have a grade in the main arm, by the rule of the headline."""
    kept: set[int] | None = None
    for items in tables:
        main = items.loc[items["arm"] == Arm.MAIN.value]
        units = main.groupby("bin")["unit_id"].nunique()
        enough = min(bin_uniform.MIN_UNITS, (main["unit_id"].nunique() + 1) // 2)
        found = set(units.index[units >= max(enough, 1)])
        kept = found if kept is None else kept & found
    return sorted(int(b) for b in kept or ())


def observations(
    measure: Measure, sides: Sequence[Side], matched: Mapping[str, Matched], codes: Codes
) -> Observations | str:
    """The grades behind the difference of a measure, the second side minus the first, or why there is none.

    `matched` holds what can be compared of each kind.
    """
    parts: list[pd.DataFrame] = []
    for kind, sign in measure.kinds:
        bins = compared_bins([items for side in matched[kind].items for items in side])
        if not bins:
            return f"no activation bin has grades of enough {kind}s in both"
        for number, (side, tables) in enumerate(zip(sides, matched[kind].items, strict=True)):
            for run, items in zip(side.runs, tables, strict=True):
                rows = _told(run, kind, items) if measure.weigh is None else measure.weigh(items, bins)
                if not len(rows):
                    return f"not measured in {run.run_id}"
                signed = rows["weight"] * (sign * (2 * number - 1) / len(side.runs))
                stratum = run.run_id + " " + rows["kind"] + " " + rows["stratum"].astype(str)
                parts.append(codes.of(run, rows.assign(weight=signed, stratum=stratum, side=number)))
    return _observations(pd.concat(parts, ignore_index=True))


class Codes:
    """Numbers of units and texts that are the same in all runs that share them."""

    def __init__(self) -> None:
        self._units: dict[tuple[object, ...], int] = {}
        self._texts: dict[tuple[object, ...], int] = {}

    def of(self, run: FinishedRun, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows of one kind with the columns `unit` and `text`. Rows without a document have texts of their own."""
        population, corpus = run.population(str(rows["kind"].iloc[0])), run.summary.corpus.fingerprint
        units = {u: self._units.setdefault((population, u), len(self._units)) for u in rows["unit_id"].unique()}
        known = rows["document"].where(rows["document"] >= 0, -1 - np.arange(len(rows)))
        texts = {
            d: self._texts.setdefault((corpus, d) if d >= 0 else (run.run_id, population, d), len(self._texts))
            for d in known.unique()
        }
        return rows.assign(unit=rows["unit_id"].map(units), text=known.map(texts))


def _told(run: FinishedRun, kind: str, items: pd.DataFrame) -> pd.DataFrame:
    """The units' distinction, each unit with the same weight."""
    if "distinction" not in run.units:
        return pd.DataFrame(columns=_COLUMNS)
    units = run.units.loc[(run.units["kind"] == kind) & run.units["distinction"].notna()]
    units = units.loc[units["unit_id"].isin(set(items["unit_id"]))]
    rows = units.assign(score=units["distinction"].astype("float64"), document=-1)
    return _rows(rows, pd.Series(1 / max(len(rows), 1), rows.index), pd.Series(0, rows.index))


def _rows(rows: pd.DataFrame, weight: pd.Series[float], stratum: pd.Series[int]) -> pd.DataFrame:
    return rows.assign(value=rows["score"], weight=weight, stratum=stratum)[_COLUMNS]


def _observations(rows: pd.DataFrame) -> Observations:
    return Observations(
        value=rows["value"].to_numpy(dtype=np.float64),
        weight=rows["weight"].to_numpy(dtype=np.float64),
        stratum=np.asarray(pd.factorize(rows["stratum"])[0], dtype=np.int64),
        side=rows["side"].to_numpy(dtype=np.int64),
        unit=rows["unit"].to_numpy(dtype=np.int64),
        text=rows["text"].to_numpy(dtype=np.int64),
    )


assert {kind for measure in MEASURES for kind, _ in measure.kinds} == set(COMPARED)
