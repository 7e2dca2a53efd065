"""How the grades of two runs differ: the comparison of `autointerp compare`, as values for a page."""

from __future__ import annotations

import dataclasses

from autointerp.comparisons import prose
from autointerp.comparisons.comparison import Result, compare
from autointerp.comparisons.finished_run import read
from autointerp.comparisons.pairing import Side as Runs
from autointerp.errors import UsageError
from autointerp.explorer.comparison.relation import Side
from autointerp.explorer.comparison.schema import Grades, MeasureDifference

CONFIDENCE = 0.95
_CHANGED = ("higher", "lower")


def grades_of(a: Side, b: Side) -> Grades | None:
    """The comparison of the runs in whose folders two indexes are; None if one of them is of no run."""
    if a.run is None or b.run is None:
        return None
    try:
        sides = [Runs((read(str(run), run.parent),)) for run in (a.run, b.run)]
        comparison = compare(_told_apart(sides, a, b), confidence=CONFIDENCE)
    except UsageError as error:
        return Grades(verdict=str(error), tone="", confidence=CONFIDENCE, notes=[], measures=[], changed={})
    [pair] = comparison.pairs
    results = sorted(
        (each for each in pair.results if each.difference is not None), key=lambda each: each.measure != pair.main
    )
    changed = pair.units.loc[pair.units["change"].isin(_CHANGED)]
    return Grades(
        verdict=prose.verdict(pair),
        tone=pair.result.verdict,
        confidence=CONFIDENCE,
        notes=[*prose.notes(pair), *prose.cautions(comparison)],
        measures=[_measure(each) for each in results],
        changed=dict(zip(changed["unit_id"].tolist(), changed["change"].tolist(), strict=True)),
    )


def _told_apart(sides: list[Runs], a: Side, b: Side) -> list[Runs]:
    """The sides, named by their folders, so that sentences name the runs as the page does."""
    folders = (a.run, b.run)
    return [
        Runs((dataclasses.replace(side.first, run_id=folder.name if folder else side.first.run_id),))
        for side, folder in zip(sides, folders, strict=True)
    ]


def _measure(result: Result) -> MeasureDifference:
    return MeasureDifference(
        title=result.title,
        own=result.mean_a,
        other=result.mean_b,
        difference=result.difference,
        low=result.ci_low,
        high=result.ci_high,
        smallest=result.smallest,
        n_units=result.n_units,
        verdict=result.verdict,
        why=result.why,
    )
