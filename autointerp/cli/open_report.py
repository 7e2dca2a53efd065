"""`autointerp open`: the report of a run in a browser."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import click

from autointerp.cli.common import RESULTS, complain, finished_run, one_line_errors, run_argument
from autointerp.errors import UsageError
from autointerp.monitoring.run_names import LATEST


@click.command("open")
@run_argument(required=False)
@RESULTS
@one_line_errors()
def open_report(run_id: str | None, results: Path) -> None:
    """Open the report of RUN in a browser, and print its path. Without RUN: the latest report."""
    path = results / finished_run(run_id or LATEST, results) / "report.html"
    if not path.exists():
        raise UsageError(
            f"there is no {path}: `autointerp runs` lists the runs, and `autointerp report RUN` writes a report"
        )
    click.echo(path)
    if not webbrowser.open(path.absolute().as_uri()):
        complain("no browser was found: open the path above in one, or copy the file to a machine that has one")
