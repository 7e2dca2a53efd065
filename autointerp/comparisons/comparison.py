"""Runs compared by every measure, with a verdict on each pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from autointerp.comparisons import changed_units, grid, retraining
from autointerp.comparisons.grid import Entry
from autointerp.comparisons.measures import MEASURES, Codes, Measure, by_bin, compared_bins, observations
from autointerp.comparisons.pairing import Matched, Pairing, Side, check_comparable, differing, match, pairs
from autointerp.comparisons.retraining import Retraining
from autointerp.errors import UsageError
from autointerp.records import COMPARED, Arm
from autointerp.stats import two_way
from autointerp.stats.two_way import Difference, Observations, Verdict, verdict_of

SEED = 0
"""Seed of the bootstrap. A comparison gives the same numbers every time."""
RESAMPLES = 2000


@dataclass(frozen=True)
class Result:
    """One measure of one pair: the second side minus the first."""

    measure: str
    title: str
    mean_a: float | None
    mean_b: float | None
    difference: float | None
    ci_low: float | None
    """Lower end of the interval, which holds for all pairs of the measure together; None if it cannot be computed."""
    ci_high: float | None
    p: float | None
    """Corrected for the number of pairs."""
    smallest: float | None
    """The smallest difference that a comparison of this size would have found with a probability of 80%."""
    n_units: int
    verdict: Verdict
    why: str | None
    """Why the difference or its interval is missing; None if both are there."""


@dataclass(frozen=True)
class Pair:
    """Two sides compared."""

    a: str
    b: str
    differ: list[str]
    """Names of the facts in which the sides differ."""
    pairing: dict[str, Pairing]
    """By kind of unit, what the sides share."""
    only_a: dict[str, int]
    """By kind, number of graded units that were left out because the other side lacks them."""
    only_b: dict[str, int]
    dropped_a: dict[str, int]
    """By kind, number of graded exemplars that were left out because they have no grade in the other run."""
    dropped_b: dict[str, int]
    main: str
    """The measure on which the verdict rests."""
    along: str
    """The key of a matrix in which they differ; empty without a matrix."""
    results: list[Result]
    unscored_a: float
    """Share of the main arm's exemplars without a grade."""
    unscored_b: float
    if_unscored: tuple[float, float] | None
    """The difference of the mean grades of features if all exemplars without a grade had the grade that makes it least or greatest;
    None if every exemplar has a grade."""
    retraining: Retraining | None
    units: pd.DataFrame
    """Units of both sides by how their grades changed."""

    @property
    def result(self) -> Result:
        """The result on which the verdict rests."""
        return next(result for result in self.results if result.measure == self.main)


@dataclass(frozen=True)
class Comparison:
    """Several sides compared in pairs."""

    sides: list[Side]
    pairs: list[Pair]
    confidence: float
    entries: list[Entry]
    """The runs by dictionary and judge; empty if not both vary."""
    not_compared: list[str]
    """Why pairs of a matrix are left out."""


def compare(sides: Sequence[Side], *, confidence: float = 0.95) -> Comparison:
    """Compare sides in pairs. Intervals of one measure hold for all pairs together. Raises `UsageError` if nothing can be compared."""
    check_comparable(sides)
    compared = _compare(sides, dict.fromkeys(pairs(sides), ""), confidence)
    return Comparison(list(sides), compared, confidence, grid.of_sides(sides), [])


def compare_cells(
    entries: Sequence[Entry], values: Sequence[Mapping[str, str]], *, confidence: float = 0.95
) -> Comparison:
    """Compare the cells of a matrix that have a result, in the pairs that differ in one of its keys.

    `values` are those of each cell by key. Cells without a matrix, which have none, are paired as by `compare`.
    """
    done = [(Side((entry.run,)), mine) for entry, mine in zip(entries, values, strict=True) if entry.run is not None]
    sides = [side for side, _ in done]
    along = _along([mine for _, mine in done]) if all(mine for _, mine in done) else dict.fromkeys(pairs(sides), "")
    chosen, refused = dict[tuple[int, int], str](), list[str]()
    for (i, j), key in along.items():
        try:
            check_comparable((sides[i], sides[j]))
            chosen[i, j] = key
        except UsageError as error:
            refused.append(str(error))
    return Comparison(sides, _compare(sides, chosen, confidence), confidence, list(entries), refused)


def _along(values: Sequence[Mapping[str, str]]) -> dict[tuple[int, int], str]:
    """The pairs of cells that differ in a single key, with that key, key by key."""
    found: dict[tuple[int, int], str] = {}
    for key in dict.fromkeys(key for mine in values for key in mine):
        for i, first in enumerate(values):
            for j in range(i + 1, len(values)):
                if [k for k in {**first, **values[j]} if first.get(k) != values[j].get(k)] == [key]:
                    found[i, j] = key
    return found


def _compare(sides: Sequence[Side], along: Mapping[tuple[int, int], str], confidence: float) -> list[Pair]:
    chosen, codes = list(along), Codes()
    matched = [{kind: match(sides[i], sides[j], kind) for kind in COMPARED} for i, j in chosen]
    results: list[list[Result]] = [[] for _ in chosen]
    for measure in MEASURES:
        rows = [
            observations(measure, (sides[i], sides[j]), shared, codes)
            for (i, j), shared in zip(chosen, matched, strict=True)
        ]
        known = [found for found in rows if not isinstance(found, str)]
        found = iter(two_way.differences(known, confidence=confidence, resamples=RESAMPLES, seed=SEED))
        for place, observed in enumerate(rows):
            if isinstance(observed, str):
                results[place].append(_missing(measure, observed))
            else:
                results[place].append(_result(measure, observed, next(found)))
    return [
        _pair(sides[i], sides[j], along[i, j], shared, of_pair, confidence)
        for (i, j), shared, of_pair in zip(chosen, matched, results, strict=True)
    ]


def main_measure(differ: Sequence[str], results: Sequence[Result]) -> str:
    """The measure on which the verdict on a pair rests.

    Two dictionaries are compared by their grades, because judge and prompts are the same. If judge, explainer or prompts differ, higher grades are
    no merit: a lenient judge and a broad explanation earn them everywhere. Then it is the grade of the own explanation minus that of another
    unit's.
    """
    known = {result.measure for result in results if result.difference is not None}
    return "shuffled" if "dictionary" not in differ and "shuffled" in known else "grade"


def _pair(
    a: Side, b: Side, along: str, matched: Mapping[str, Matched], results: list[Result], confidence: float
) -> Pair:
    differ = differing(a.first, b.first)
    return Pair(
        a=a.name,
        b=b.name,
        differ=differ,
        pairing={kind: matched[kind].pairing for kind in COMPARED},
        only_a={kind: matched[kind].only[0] for kind in COMPARED},
        only_b={kind: matched[kind].only[1] for kind in COMPARED},
        dropped_a={kind: matched[kind].dropped[0] for kind in COMPARED},
        dropped_b={kind: matched[kind].dropped[1] for kind in COMPARED},
        main=main_measure(differ, results),
        along=along,
        results=results,
        unscored_a=a.unscored_share,
        unscored_b=b.unscored_share,
        if_unscored=_if_unscored(a, b, matched["feature"]),
        retraining=retraining.noise((a, b), confidence) if "dictionary" in differ else None,
        units=changed_units.table(a, b, matched),
    )


def _result(measure: Measure, rows: Observations, found: Difference) -> Result:
    products = rows.value * rows.weight
    return Result(
        measure=measure.name,
        title=measure.title,
        mean_a=-float(products[rows.side == 0].sum()),
        mean_b=float(products[rows.side == 1].sum()),
        difference=found.value,
        ci_low=found.low,
        ci_high=found.high,
        p=found.p,
        smallest=found.smallest,
        n_units=found.n_units,
        verdict=verdict_of(found.low, found.high),
        why=found.why,
    )


def _missing(measure: Measure, why: str) -> Result:
    return Result(
        measure.name, measure.title, None, None, None, None, None, None, None, 0, verdict="cannot be told", why=why
    )


def _if_unscored(a: Side, b: Side, matched: Matched) -> tuple[float, float] | None:
    """The range of the difference of mean grades, whatever the grades of the exemplars without one.

    With matched exemplars, the exemplars graded in one run only keep their grade.
    """
    if not a.unscored_share and not b.unscored_share:
        return None
    low, high = min(a.first.summary.rubric.grades), max(a.first.summary.rubric.grades)
    units = [set(items["unit_id"]) for side in matched.items for items in side]

    def mean(side: Side, place: int, grade: float) -> float:
        means = []
        for number, run in enumerate(side.runs):
            kept = units[place + number]
            rows = pd.concat(
                [run.items, run.unscored.assign(arm=Arm.MAIN.value, score=float(grade))], ignore_index=True
            )
            rows = rows.loc[(rows["kind"] == "feature") & rows["unit_id"].isin(kept)]
            weighed = by_bin(rows, bins)
            means.append(float((weighed["weight"] * weighed["value"]).sum()))
        return float(np.mean(means))

    bins = compared_bins([items for side in matched.items for items in side])
    if not bins:
        return None
    second = len(a.runs)
    return mean(b, second, low) - mean(a, 0, high), mean(b, second, high) - mean(a, 0, low)
