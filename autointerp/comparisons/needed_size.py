"""How many units and exemplars a comparison needs to see a given difference, before anything is spent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd
from scipy import stats

from autointerp.comparisons.finished_run import FinishedRun
from autointerp.comparisons.measures import compared_bins
from autointerp.comparisons.pairing import Side, check_comparable, match
from autointerp.errors import UsageError
from autointerp.formatting import count, number, percent
from autointerp.records import Arm
from autointerp.stats import stopping
from autointerp.stats.stopping import Spread
from autointerp.stats.two_way import MIN_UNITS, POWER, smallest_difference

PER_BIN = (1, 2, 3, 5, 10)
MOST_UNITS = 1_000_000
"""No size beyond this is looked for."""


@dataclass(frozen=True)
class Size:
    """One size at which the difference is found with a probability of `POWER`."""

    per_bin: int
    """Exemplars per bin and unit."""
    units: int | None
    """Features in each run; None if `MOST_UNITS` are too few."""
    items: int | None
    """Judgements in each run, of features in the main arm."""


def sizes(difference: float, spread: Spread, bins: int, confidence: float, *, paired: bool) -> list[Size]:
    """The size needed for each number of exemplars per bin.

    `spread` is that of one run's features, or, if `paired`, that of the differences between two runs of the same features. The variance of a
    mean over n units is (between^2 + within^2 / (bins * per_bin)) / n, and twice that for two runs of other features.
    """
    found = []
    for per_bin in PER_BIN:
        variance = (spread.between**2 + spread.within**2 / (bins * per_bin)) * (1 if paired else 2)
        n = _fewest(difference, variance, confidence, runs=1 if paired else 2)
        found.append(Size(per_bin, n, None if n is None else n * bins * per_bin))
    return found


def lines(difference: float, runs: Sequence[FinishedRun], confidence: float) -> Iterator[str]:
    """The sizes as a table for a terminal, with the assumptions behind them. Raises `UsageError`."""
    if difference <= 0:
        raise UsageError(f"--plan {difference:g} is no difference to plan for: name one above 0, in grades")
    paired = len(runs) == 2
    items = _differences(*runs) if paired else _features(runs[0])
    bins = len(compared_bins([items]))
    spread = _spread(items, runs[0].run_id)
    yield f"{'per_bin':>8} {'features':>10} {'judgements a run':>18}"
    for size in sizes(difference, spread, bins, confidence, paired=paired):
        units, judged = (f"> {MOST_UNITS:,}" if n is None else count(n) for n in (size.units, size.items))
        yield f"{size.per_bin:>8} {units:>10} {judged:>18}"
    yield ""
    yield (
        f"Features and judgements in each run with which a true difference of {number(difference)} is found with a probability of"
        f" {percent(POWER)}, at {percent(confidence)} confidence."
    )
    what = (
        f"the differences of {runs[0].run_id} and {runs[1].run_id}, for two runs over the same features and exemplars"
        if paired
        else f"{runs[0].run_id}, for two runs over other features"
    )
    yield (
        f"By the spread of {what}: {number(spread.between)} between features, {number(spread.within)} within a feature's bin,"
        f" {bins} bins. Judgements of the control arms and of neurons come on top."
    )
    if not paired:
        yield "Two judges, explainers or prompts graded on the same exemplars need fewer: name two small runs that differ like those planned."


def _fewest(difference: float, variance: float, confidence: float, *, runs: int) -> int | None:
    """The smallest number of units a run at which the difference is large enough, by bisection."""

    def enough(n: int) -> bool:
        freedom = float(runs * (n - 1))
        critical = float(stats.t.ppf((1 + confidence) / 2, freedom))
        return smallest_difference((variance / n) ** 0.5, freedom, critical) <= difference

    low, high = MIN_UNITS - 1, MIN_UNITS
    while not enough(high):
        low, high = high, 2 * high
        if high > MOST_UNITS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _features(run: FinishedRun) -> pd.DataFrame:
    return run.items.loc[(run.items["kind"] == "feature") & (run.items["arm"] == Arm.MAIN.value)]


def _differences(a: FinishedRun, b: FinishedRun) -> pd.DataFrame:
    """The differences of the features' exemplars as if they were grades. Raises `UsageError` if the runs do not share them."""
    sides = (Side((a,)), Side((b,)))
    check_comparable(sides)
    matched = match(*sides, "feature")
    if matched.pairing != "exemplars":
        raise UsageError(
            f"{a.run_id} and {b.run_id} do not grade the same features on the same exemplars: name one of them alone"
        )
    keys = ["unit_id", "kind", "arm", "bin", "exemplar_id", "document"]
    (first,), (second,) = matched.items
    both = first.loc[first["arm"] == Arm.MAIN.value].merge(second[[*keys, "score"]], on=keys, suffixes=("_a", ""))
    return both.assign(score=both["score"] - both["score_a"])


def _spread(items: pd.DataFrame, run_id: str) -> Spread:
    judged = items.assign(outcome="scored")
    found = stopping.spread_of(stopping.cell_table(judged, items[["unit_id", "kind"]].drop_duplicates()))
    if "feature" not in found:
        raise UsageError(
            f"{run_id} does not tell the spread of grades: it needs three features or more, and two exemplars in some bin"
        )
    return found["feature"]
