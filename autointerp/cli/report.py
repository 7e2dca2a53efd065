"""`autointerp report`: the report of a run, written again."""

from __future__ import annotations

from pathlib import Path

import click

from autointerp.cli.common import RESULTS, command_ledger, one_line_errors, run_argument


@click.command()
@run_argument()
@RESULTS
@one_line_errors()
def report(run_id: str, results: Path) -> None:
    """Write the report of RUN again, with the labels given since. Without its ledger, from the files in its folder."""
    from autointerp.pipeline.finish import rewrite

    click.echo(rewrite(run_id, results, lambda: command_ledger(results)))
