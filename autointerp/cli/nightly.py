"""`autointerp nightly`: score one night by hand. On a schedule, Celery's beat starts each night instead."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from autointerp.cli.common import QUIET, RESULTS, command_ledger, one_line_errors
from autointerp.errors import UsageError


@click.command()
@click.argument("config", type=click.Path(path_type=Path), required=False)
@click.option("--once", is_flag=True, help="Score the night now, in this process.")
@click.option("--submit", "hand_over", is_flag=True, help="Queue the night's runs for the workers.")
@click.option("--dry-run", is_flag=True, help="Print what the night would score and cost. Starts nothing.")
@click.option("--date", metavar="YYYY-MM-DD", help="The night's name, by default today. Each is scored once.")
@RESULTS
@QUIET
@one_line_errors()
def nightly(
    config: Path | None, once: bool, hand_over: bool, dry_run: bool, date: str | None, results: Path, quiet: bool
) -> None:
    """Score the dictionaries that are new since the last night, from the sources in CONFIG (a TOML file).

    CONFIG defaults to the file that AUTOINTERP_NIGHTLY names. Give one of --once, --submit and --dry-run.
    """
    if once + hand_over + dry_run != 1:
        raise UsageError("give one of --once (score the night here), --submit (queue it for the workers) and --dry-run")
    from autointerp.nightly.command import start_night

    how: Literal["once", "submit", "dry_run"] = "once" if once else "submit" if hand_over else "dry_run"
    for line in start_night(config, how, date, results, lambda: command_ledger(results, make=True), quiet=quiet):
        click.echo(line)
