"""`autointerp nightly`: score one night by hand. On a schedule, Celery's beat starts each night instead."""

from __future__ import annotations

from datetime import date as Date
from pathlib import Path

import click

from autointerp.cli.common import QUIET, RESULTS, command_ledger, one_line_errors
from autointerp.errors import UsageError
from autointerp.ledger.database import Ledger
from autointerp.nightly import config as nightly_config
from autointerp.nightly import night, night_summary
from autointerp.nightly.runners import Carrier, Fleet, Local
from autointerp.pipeline import submit as submission
from autointerp.progress import Progress
from autointerp.settings import Settings
from autointerp.spec.spec import Spec


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
    path = config or Settings.from_env().nightly
    if path is None:
        raise UsageError("no CONFIG given and AUTOINTERP_NIGHTLY is not set: give the TOML file of the night")
    wanted, name, ledger = nightly_config.load(path), _date(date), command_ledger(results, make=True)
    with Progress(quiet=quiet) as progress:
        if dry_run:
            for line in night.preview(ledger, wanted, name, _fleet(ledger, results, progress)):
                click.echo(line)
            return
        carrier = Local(ledger, results, progress) if once else _fleet(ledger, results, progress)
        # A night started by hand takes dictionaries as they are; a scheduled one waits until files stop changing.
        summary = night.run_night(ledger, wanted, name, results, carrier, settle=not once, tell=progress.note)
    if summary is not None:
        for line in night_summary.describe(summary):
            click.echo(line)


def _fleet(ledger: Ledger, results: Path, progress: Progress) -> Carrier:
    def queue(spec: Spec, night: str) -> str:
        submitted = submission.submit(ledger, spec, results, night=night, tell=progress.tell)
        progress.note(f"{submitted.run_id}  {submitted.was}")
        return submitted.run_id

    return Fleet(ledger, queue)


def _date(given: str | None) -> str:
    """A night's name. Raises `UsageError` for a value that is not a date."""
    try:
        return Date.fromisoformat(given).isoformat() if given else night.today()
    except ValueError:
        raise UsageError(f"--date {given} is not a date: write it like 2026-11-21") from None
