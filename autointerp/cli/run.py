"""`autointerp run`: evaluate dictionaries in this process."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from autointerp.cli.common import DRY_RUN, QUIET, RESULTS, SET, command_ledger, one_line_errors


@click.command()
@click.argument("specs", metavar="SPEC...", nargs=-1, required=True, type=click.Path(path_type=Path))
@SET
@DRY_RUN
@RESULTS
@QUIET
@one_line_errors()
def run(specs: tuple[Path, ...], overrides: tuple[str, ...], dry_run: bool, results: Path, quiet: bool) -> int:
    """Evaluate the dictionary that each SPEC (a TOML file) names, and write the reports.

    Dictionaries that read the same subject and corpus are harvested in one pass.
    """
    from autointerp.pipeline.evaluate import evaluate_files

    return evaluate_files(
        specs,
        overrides,
        results,
        lambda: command_ledger(results, make=True),
        dry_run=dry_run,
        quiet=quiet,
        command=["autointerp", *sys.argv[1:]],
        say=click.echo,
    )
