"""`autointerp nightly`: one night by hand. Where a schedule is wanted, beat begins each night itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from autointerp.cli.common import QUIET, RESULTS, one_line_errors, the_ledger

if TYPE_CHECKING:
    from autointerp.ledger import Ledger
    from autointerp.nightly.runners import Carrier
    from autointerp.progress import Progress
    from autointerp.spec.spec import Spec


@click.command()
@click.argument("config", type=click.Path(path_type=Path), required=False)
@click.option("--once", is_flag=True, help="Score the night now, in this process.")
@click.option("--submit", "hand_over", is_flag=True, help="Leave the night's runs to the workers.")
@click.option("--dry-run", is_flag=True, help="Say what the night would score and cost. Begins nothing.")
@click.option("--date", metavar="YYYY-MM-DD", help="The night's name, by default today. Each is scored once.")
@RESULTS
@QUIET
@one_line_errors()
def nightly(
    config: Path | None, once: bool, hand_over: bool, dry_run: bool, date: str | None, results: Path, quiet: bool
) -> None:
    """Score the dictionaries that are new since the last night, as CONFIG (a TOML file) says.

    CONFIG is by default the file that AUTOINTERP_NIGHTLY names. Give one of --once, --submit and --dry-run.
    """
    from autointerp.errors import UsageError
    from autointerp.nightly import config as config_
    from autointerp.nightly import night, night_summary
    from autointerp.nightly.runners import Local
    from autointerp.progress import Progress
    from autointerp.settings import Settings

    if once + hand_over + dry_run != 1:
        raise UsageError("give one of --once (score the night here), --submit (leave it to the workers) and --dry-run")
    path = config or Settings.from_env().nightly
    if path is None:
        raise UsageError(
            "no CONFIG given and AUTOINTERP_NIGHTLY is not set: name the TOML file that says what to score"
        )
    wanted, name, ledger = config_.load(path), _date(date), the_ledger(results, make=True)
    with Progress(quiet=quiet) as progress:
        if dry_run:
            for line in night.preview(ledger, wanted, name, _fleet(ledger, results, progress)):
                click.echo(line)
            return
        carrier = Local(ledger, results, progress) if once else _fleet(ledger, results, progress)
        # Who asks for a night now has finished writing; a schedule cannot know.
        summary = night.run_night(ledger, wanted, name, results, carrier, settle=not once, tell=progress.note)
    if summary is not None:
        for line in night_summary.describe(summary):
            click.echo(line)


def _fleet(ledger: Ledger, results: Path, progress: Progress) -> Carrier:
    from autointerp.nightly.runners import Fleet
    from autointerp.pipeline import submit

    def hand_over(spec: Spec, night: str) -> str:
        submitted = submit.submit(ledger, spec, results, night=night, tell=progress.tell)
        progress.note(f"{submitted.run_id}  {submitted.was}")
        return submitted.run_id

    return Fleet(ledger, hand_over)


def _date(given: str | None) -> str:
    """A night's name. Raises `UsageError` for what is no date."""
    from datetime import date

    from autointerp.errors import UsageError
    from autointerp.nightly.night import today

    try:
        return date.fromisoformat(given).isoformat() if given else today()
    except ValueError:
        raise UsageError(f"--date {given} is not a date: write it like 2026-11-21") from None
