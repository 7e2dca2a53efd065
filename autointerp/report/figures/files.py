"""The figures of a report as files of their own, for papers and slides."""

from __future__ import annotations

from pathlib import Path

from autointerp.findings.summary import Summary
from autointerp.report.figures import bin_grades
from sae.files import write_text

_WIDTH = 720


def write(summary: Summary, folder: Path) -> list[Path]:
    """Write the grades and their means by activation bin to `grades.svg` and `curve.svg` in `folder`, and return the paths."""
    drawn = {
        "grades": bin_grades.bins_figure(summary),
        "curve": bin_grades.curve_figure(summary, width=_WIDTH, standalone=True),
    }
    for name, text in drawn.items():
        write_text(folder / f"{name}.svg", text)
    return [folder / f"{name}.svg" for name in drawn]
