"""Runs as a grid, dictionaries x judges: the headline, the distinction and the trust in the judge, each with its run's report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from autointerp.comparisons.finished_run import FinishedRun
from autointerp.comparisons.pairing import Side
from autointerp.findings.summary import Summary
from autointerp.formatting import NOT_AVAILABLE, percent
from autointerp.report import cells, prose
from autointerp.report.escape import markdown as escaped

CAPTION = (
    "Dictionaries x judges: mean grade of features, features minus neurons, features told from their neighbours, and"
    " whether the judge can be relied on, as in the runs' own reports"
)


@dataclass(frozen=True)
class Entry:
    """A run in its cell of the grid, or the reason why the cell has no result."""

    dictionary: str
    judge: str
    other: str
    """Values of everything else that varies; empty if nothing does."""
    run: FinishedRun | None
    reason: str = ""

    @property
    def name(self) -> str:
        """The cell in words."""
        return " x ".join(filter(None, (self.dictionary, self.judge, self.other)))


@dataclass(frozen=True)
class Shown:
    """An entry as text. A cell without a result has a reason and nothing else."""

    run_id: str
    link: str
    """Address of the report, relative to the comparison."""
    other: str
    grade: str
    headline: str
    distinction: str
    trust: str
    trust_class: str
    reason: str


@dataclass(frozen=True)
class Grid:
    """The entries by dictionary (rows) and judge (columns)."""

    judges: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[Shown, ...], ...]], ...]
    """By dictionary, the entries of each judge."""

    def markdown(self) -> str:
        """The grid as a Markdown table."""
        lines = ["| dictionary | " + " | ".join(map(escaped, self.judges)) + " |"]
        lines.append("| " + " | ".join("---" for _ in range(len(self.judges) + 1)) + " |")
        for name, row in self.rows:
            texts = ["<br>".join(map(_markdown, cell)) or NOT_AVAILABLE for cell in row]
            lines.append(f"| {escaped(name)} | " + " | ".join(texts) + " |")
        return "\n".join([f"*{escaped(CAPTION)}*", "", *lines])


def of_sides(sides: Sequence[Side]) -> list[Entry]:
    """The entries of runs that were named one by one; none unless dictionaries and judges both vary."""
    entries = [
        Entry(f"{s.dictionary.name}, {s.hook_point}", s.judge, "", side.first)
        for side, s in ((side, side.first.summary) for side in sides)
    ]
    varied = min(len({entry.dictionary for entry in entries}), len({entry.judge for entry in entries}))
    return entries if varied > 1 else []


def grid(entries: Sequence[Entry], folder: Path) -> Grid | None:
    """The grid of a comparison that is written to a folder; None without entries."""
    judges = tuple(dict.fromkeys(entry.judge for entry in entries))
    rows = tuple(
        (
            name,
            tuple(
                tuple(shown(entry, folder) for entry in entries if (entry.dictionary, entry.judge) == (name, judge))
                for judge in judges
            ),
        )
        for name in dict.fromkeys(entry.dictionary for entry in entries)
    )
    return Grid(judges, rows) if entries else None


def as_json(entries: Sequence[Entry], folder: Path) -> list[dict[str, Any]]:
    """The entries as JSON values."""
    return [{"dictionary": entry.dictionary, "judge": entry.judge, **asdict(shown(entry, folder))} for entry in entries]


def shown(entry: Entry, folder: Path) -> Shown:
    """An entry as text, with the address of its report from a folder."""
    if entry.run is None:
        return Shown("", "", entry.other, "", "", "", "", "", entry.reason)
    summary = entry.run.summary
    trust = prose.judge_reliability(summary)
    return Shown(
        run_id=entry.run.run_id,
        link=report_of(entry.run, folder),
        other=entry.other,
        grade=_grade(summary),
        headline=prose.verdict(summary).number or f"withheld: {summary.headline.withheld}",
        distinction=_told(summary),
        trust=trust.mark + ("" if summary.judge_is_llm else ", not an LLM"),
        trust_class=trust.verdict.verdict,
        reason="",
    )


def report_of(run: FinishedRun, folder: Path) -> str:
    """The address of a run's report, relative to a folder."""
    return quote(Path(os.path.relpath(run.folder / "report.html", folder)).as_posix())


def _grade(summary: Summary) -> str:
    """The mean grade of features; not a grade alone if the headline is withheld."""
    if summary.headline.withheld:
        return "withheld"
    return f"{cells.interval(summary.controls.main.feature)} of {summary.rubric.grades[-1]}"


def _told(summary: Summary) -> str:
    if summary.distinction is None:
        return "not measured"
    told = summary.distinction.feature
    return f"{cells.interval(told, 'value', form=percent)}, chance {percent(told.chance)}"


def _markdown(cell: Shown) -> str:
    other = f"{escaped(cell.other)}: " if cell.other else ""
    if cell.reason:
        return f"{other}no result: {escaped(cell.reason)}"
    figures = "; ".join(
        map(escaped, (f"grade {cell.grade}", f"features minus neurons {cell.headline}", f"told {cell.distinction}"))
    )
    return f"{other}{figures}; {escaped(cell.trust)} ([{escaped(cell.run_id)}]({cell.link}))"
