"""`autointerp report`: the report of a run, written again."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click

from autointerp import report as reports
from autointerp.cli.common import RESULTS, command_ledger, one_line_errors, run_argument
from autointerp.errors import UsageError
from autointerp.harvest.artifacts import Artifacts
from autointerp.pipeline import finish
from autointerp.settings import Settings


@click.command()
@run_argument()
@RESULTS
@one_line_errors()
def report(run_id: str, results: Path) -> None:
    """Write the report of RUN again, with the labels given since. Without its ledger, from the files in its folder."""
    folder = results / run_id
    if not (folder / "summary.json").exists():
        raise UsageError(f"{folder} holds no summary.json: `autointerp runs` lists the runs there are")
    root = Settings.from_env().artifacts or str(results / "artifacts")
    remade = False
    with suppress(UsageError):  # a folder that was copied here has no ledger
        remade = finish.remake(command_ledger(results), run_id, results, Artifacts(root))
    if not remade:
        reports.write(folder)
    click.echo(folder / "report.html")
