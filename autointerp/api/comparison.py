"""`ai.compare`: finished runs against each other, as `autointerp compare` does."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from autointerp.api.result import Result
from autointerp.comparisons import comparison, finished_run, pages, prose, tables
from autointerp.comparisons.pairing import Side
from autointerp.errors import UsageError
from autointerp.places import open_folder
from autointerp.report import notebook

CONFIDENCE = 0.95


class ComparedRuns:
    """Runs compared in all pairs that differ in one thing. In a notebook it shows the verdicts and the table of pairs."""

    def __init__(self, found: comparison.Comparison) -> None:
        self._found = found

    @property
    def verdicts(self) -> list[str]:
        """A sentence for each pair: better, worse, the same, or that it cannot be told."""
        return [prose.verdict(pair) for pair in self._found.pairs]

    @property
    def cautions(self) -> list[str]:
        """What to keep in mind, a sentence each."""
        return list(prose.cautions(self._found))

    @property
    def pairs(self) -> pd.DataFrame:
        """Every measure of every pair, a row each: a, b, measure, mean_a, mean_b, difference (b minus a), ci_low, ci_high, p, verdict.

        Intervals and p hold for all pairs of a measure together.
        """
        rows = [
            {"a": pair.a, "b": pair.b} | dataclasses.asdict(result)
            for pair in self._found.pairs
            for result in pair.results
        ]
        return pd.DataFrame(rows)

    @property
    def units(self) -> pd.DataFrame:
        """Units of both runs by how their grades changed, a row each."""
        return pages.units_of(self._found)

    def write(self, folder: str | Path) -> Path:
        """Write comparison.html, comparison.md, comparison.json and units.parquet, and return the folder. Raises `AutointerpError`."""
        path = open_folder(Path(folder))
        pages.write(self._found, path)
        return path

    def __repr__(self) -> str:
        return "\n".join([*self.verdicts, *self.cautions])

    def _repr_html_(self) -> str:
        return notebook.comparison(self.verdicts, self.cautions, tables.pairs(self._found))


def compare(
    runs: Sequence[Result | str | Path], *, confidence: float = CONFIDENCE, results: str | Path = "results"
) -> ComparedRuns:
    """Compare finished runs with the first of them. Runs over the same units are paired by unit and exemplar.

    `runs`: results, folders, or ids in the folder `results`. `confidence`: of the intervals, for all pairs together. Raises
    `AutointerpError` for fewer than two runs, an unfinished one, and runs that differ in nothing or in too much.
    """
    if len(runs) < 2:
        raise UsageError(f"{len(runs)} runs cannot be compared: give two or more, the one to compare with first")
    if not 0.5 <= confidence < 1:
        raise UsageError(f"confidence = {confidence}: give a share from 0.5 to below 1, such as 0.95")
    names = [str(run.path) if isinstance(run, Result) else str(run) for run in runs]
    sides = [Side((finished_run.read(name, Path(results)),)) for name in names]
    return ComparedRuns(comparison.compare(sides, confidence=confidence))
