"""A night that is started by hand: `autointerp nightly`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date as Date
from pathlib import Path
from typing import Literal

from autointerp.errors import UsageError
from autointerp.ledger.database import Ledger
from autointerp.nightly import config as nightly_config
from autointerp.nightly import night, night_summary
from autointerp.nightly.runners import FleetRunner, LocalRunner, Runner
from autointerp.pipeline import submit as submission
from autointerp.progress import Progress
from autointerp.settings import Settings
from autointerp.spec.spec import Spec

How = Literal["once", "submit", "dry_run"]


def start_night(
    config: Path | None, how: How, date: str | None, results: Path, open_ledger: Callable[[], Ledger], *, quiet: bool
) -> list[str]:
    """Score a night here (`once`), queue it for the workers (`submit`), or only list it (`dry_run`); returns lines to print.

    Raises `UsageError`. `config` defaults to the file that AUTOINTERP_NIGHTLY names.
    """
    path = config or Settings.from_env().nightly
    if path is None:
        raise UsageError("no CONFIG given and AUTOINTERP_NIGHTLY is not set: give the TOML file of the night")
    settings, name, ledger = nightly_config.load(path), _date(date), open_ledger()
    with Progress(quiet=quiet) as progress:
        if how == "dry_run":
            return list(night.preview(ledger, settings, name, _fleet(ledger, results, progress)))
        runner = LocalRunner(ledger, results, progress) if how == "once" else _fleet(ledger, results, progress)
        # A night started by hand takes dictionaries as they are; a scheduled one waits until files stop changing.
        settle = how != "once"
        summary = night.run_night(ledger, settings, name, results, runner, settle=settle, note=progress.note)
    return [] if summary is None else list(night_summary.describe(summary))


def _fleet(ledger: Ledger, results: Path, progress: Progress) -> Runner:
    def queue(spec: Spec, night: str) -> str:
        submitted = submission.submit(ledger, spec, results, night=night, on_progress=progress.update)
        progress.note(f"{submitted.run_id}  {submitted.was}")
        return submitted.run_id

    return FleetRunner(ledger, queue)


def _date(given: str | None) -> str:
    try:
        return Date.fromisoformat(given).isoformat() if given else night.today()
    except ValueError:
        raise UsageError(f"--date {given} is not a date: write it like 2026-11-21") from None
