"""The figures of a report as files of their own, for papers and slides."""

from __future__ import annotations

from pathlib import Path

from autointerp.errors import UsageError
from autointerp.findings.summary import Summary
from autointerp.report.figures import bin_grades
from sae.files import write_text

FORMATS = ("svg",)
_WIDTH = 720


def write(summary: Summary, folder: Path, format: str) -> list[Path]:
    """Write the grades and their means by activation bin to `grades` and `curve` in `folder`, and return the paths.

    Raises `UsageError` for a format that is none of `FORMATS`.
    """
    if format not in FORMATS:
        raise UsageError(f"figures cannot be written as {format!r}: use {', '.join(FORMATS)}")
    drawn = {
        "grades": bin_grades.bins_figure(summary),
        "curve": bin_grades.curve_figure(summary, width=_WIDTH, standalone=True),
    }
    for name, text in drawn.items():
        write_text(folder / f"{name}.{format}", text)
    return [folder / f"{name}.{format}" for name in drawn]
