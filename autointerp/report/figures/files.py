"""The figures of a report as files of their own, for papers and slides."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from autointerp.errors import UsageError
from autointerp.findings.summary import Summary
from autointerp.report.figures import bin_grades
from sae.files import write_text

FORMATS = ("svg", "pdf", "png")
_WIDTH = 720


def write(summary: Summary, folder: Path, format: str) -> list[Path]:
    """Write `grades` and `curve`, the grades by activation bin, to files in `folder`, and return their paths.

    SVG needs no other package; PDF and PNG are drawn by matplotlib. Raises `UsageError` for another format, or if it is missing.
    """
    if format not in FORMATS:
        raise UsageError(f"figures cannot be written as {format!r}: use {', '.join(FORMATS)}")
    if format == "svg":
        drawn = {
            "grades": bin_grades.bins_figure(summary),
            "curve": bin_grades.curve_figure(summary, width=_WIDTH, standalone=True),
        }
        for name, text in drawn.items():
            write_text(folder / f"{name}.svg", text)
        return [folder / f"{name}.svg" for name in drawn]
    return _with_matplotlib(summary, folder, format)


def _with_matplotlib(summary: Summary, folder: Path, format: str) -> list[Path]:
    try:
        paper: Any = import_module("autointerp.report.figures.paper")
    except ImportError:
        raise UsageError(
            f"figures as {format} need matplotlib: pip install 'autointerp-eval[figures]', or write them as svg"
        ) from None
    written: list[Path] = paper.write(summary, folder, format)
    return written
