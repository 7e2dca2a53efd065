"""Reports: a run's files as a page and as text. Pure functions of the folder, so a report can be made again at any time."""

from __future__ import annotations

from pathlib import Path

from autointerp.report import markdown, page
from autointerp.report.reader import read
from sae.files import write_text

__all__ = ["write"]


def write(folder: Path) -> None:
    """Write `report.html` and `report.md` into a results folder from the other files in it. Raises `UsageError`."""
    results = read(folder)
    write_text(folder / "report.md", markdown.render(results))
    write_text(folder / "report.html", page.render(results))
