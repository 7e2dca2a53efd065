"""Reports: a run's files as a page and as text. Pure functions of the folder, so a report can be made again at any time."""

from __future__ import annotations

from pathlib import Path

from autointerp.files import write_atomically
from autointerp.report import markdown, page
from autointerp.report.reader import read

__all__ = ["write"]


def write(folder: Path) -> None:
    """Write `report.html` and `report.md` into a results folder from the other files in it. Raises `UsageError`."""
    results = read(folder)
    write_atomically(folder / "report.md", markdown.render(results))
    write_atomically(folder / "report.html", page.render(results))
