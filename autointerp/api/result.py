"""The result of a finished run: its figures, its tables, its units and its pages, read from its folder alone."""

from __future__ import annotations

from functools import cached_property
from html import escape
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from autointerp.api.unit import UnitResult
from autointerp.errors import UsageError
from autointerp.findings.results import Distinction
from autointerp.findings.summary import Summary, read_summary
from autointerp.formatting import estimate
from autointerp.places import open_folder, writing
from autointerp.records import COMPARED
from autointerp.report import notebook, paper_figures, prose
from autointerp.report.figures import files
from autointerp.report.reader import Results, read
from autointerp.report.run_folder import folder_of


class Difference(NamedTuple):
    """Features minus neurons in mean grade, on the rubric's scale, with the limits of its interval.

    All three are None if the headline is withheld, and `withheld` says why; the limits alone are None if there is no interval.
    """

    value: float | None
    low: float | None
    high: float | None
    withheld: str | None = None

    def __str__(self) -> str:
        return f"withheld: {self.withheld}" if self.withheld else estimate(self.value, self.low, self.high)


class Result:
    """A finished run. In a notebook it shows the verdict, how far the judge can be relied on, the grades by activation and some units.

    `path` is its folder, with report.html and the tables, and `summary` the contents of summary.json: see [summary](summary.md).
    """

    def __init__(self, path: str | Path, *, keep: object = None) -> None:
        """The run in the folder `path`. `keep`: an object that has to last as long as this one.

        Raises `AutointerpError` if the folder holds no finished run.
        """
        self.path = Path(path)
        self.summary: Summary = read_summary(self.path)
        self._keep = keep

    @property
    def id(self) -> str:
        """The run's id, which is also its folder's name."""
        return self.summary.run_id

    @property
    def difference(self) -> Difference:
        """Features minus neurons in mean grade: the headline."""
        headline = self.summary.headline
        return Difference(headline.difference, headline.ci_low, headline.ci_high, headline.withheld)

    @property
    def distinction(self) -> Distinction | None:
        """How far explanations tell units from their nearest neighbours, by kind; None if that was not measured."""
        return self.summary.distinction

    @property
    def verdict(self) -> str:
        """The headline in a sentence."""
        return " ".join(part for part in (prose.lead(self.summary), prose.verdict(self.summary).sentence) if part)

    @property
    def trust(self) -> str:
        """How far the judge can be relied on, in a sentence."""
        reliability = prose.judge_reliability(self.summary)
        return f"{reliability.label}. {reliability.verdict.sentence}"

    @cached_property
    def units(self) -> pd.DataFrame:
        """The features and neurons, a row each: the columns of units.parquet, such as unit_id, explanation, mean_score and density."""
        units = pd.read_parquet(self.path / "units.parquet")
        return units.loc[units["kind"].isin(COMPARED)].reset_index(drop=True)

    @cached_property
    def exemplars(self) -> pd.DataFrame:
        """The harvested windows, a row each: the columns of exemplars.parquet, such as unit_id, activation, bin, tokens and mark."""
        return pd.read_parquet(self.path / "exemplars.parquet")

    @cached_property
    def judgements(self) -> pd.DataFrame:
        """The judgements, a row each: the columns of judgements.parquet, such as unit_id, exemplar_id, arm, score and reason."""
        return pd.read_parquet(self.path / "judgements.parquet")

    def unit(self, unit_id: str) -> UnitResult:
        """One unit of the run, such as `feature-641` or `neuron-17+`. Raises `AutointerpError` if the run has no such unit."""
        known = self._contents.units + self._contents.known
        row = next((unit for unit in known if unit["unit_id"] == unit_id), None)
        if row is None:
            raise UsageError(
                f"run {self.id} has no unit {unit_id!r}: result.units lists them, such as {known[0]['unit_id']}"
            )
        exemplars = self.exemplars.loc[self.exemplars["unit_id"] == unit_id]
        return UnitResult(row, exemplars, self._contents.judgements.get(unit_id, []))

    def figures(self, folder: str | Path, format: str = "svg") -> list[Path]:
        """Write figures as files, and return their paths.

        `format`: `svg` for those of the report, `pdf` or `png` for those of `autointerp figures`, which need matplotlib. Raises
        `AutointerpError` for another format, without matplotlib, and for a folder that cannot be written.
        """
        folder = open_folder(Path(folder))
        with writing(folder):
            if format == "svg":
                return files.write(self.summary, folder)
            return paper_figures.write(self.path, folder, format)

    @cached_property
    def _contents(self) -> Results:
        return read(self.path)

    def __repr__(self) -> str:
        return "\n".join([self.verdict, self.trust, str(self.path / "report.html")])

    def _repr_html_(self) -> str:
        return notebook.result(self._contents, escape(str(self.path / "report.html")))


def load(run: str | Path, results: str | Path = "results") -> Result:
    """A finished run, given as its folder or as its id in the folder `results`. Raises `AutointerpError` if it is not finished."""
    return Result(folder_of(str(run), Path(results)))
