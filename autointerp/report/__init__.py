"""Reports: a run's results as an HTML page and as Markdown.

They are made from the files of the results folder alone, so they can be written again at any time.
"""

from __future__ import annotations

from pathlib import Path

from autointerp.report import markdown, page
from autointerp.report.reader import read
from sae.files import write_text

__all__ = ["write"]


def write(folder: Path) -> None:
    """Write `report.html` and `report.md` from the other files in a results folder. Raises `UsageError` if one cannot be read."""
    results = read(folder)
    write_text(folder / "report.md", markdown.render(results))
    write_text(folder / "report.html", page.render(results))
