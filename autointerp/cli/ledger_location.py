"""Where the command line finds the ledger: where AUTOINTERP_LEDGER says, or else in the results folder."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from autointerp.errors import UsageError
from autointerp.ledger.database import Ledger
from autointerp.monitoring.run_list import run_ids
from autointerp.settings import Settings


def open_ledger(results: Path, settings: Settings | None = None) -> Ledger:
    """The ledger, made or migrated where need be. Raises `UsageError`."""
    return Ledger.in_folder(results, (settings or Settings.from_env()).given_ledger)


def has_ledger(results: Path) -> bool:
    """Whether there is a ledger in the results folder, or AUTOINTERP_LEDGER names one. Raises `UsageError`."""
    return Settings.from_env().given_ledger is not None or (results / "ledger.sqlite").exists()


def existing_ledger(results: Path, settings: Settings | None = None) -> Ledger:
    """The ledger, for commands that only look: they make none. Raises `UsageError`."""
    settings = settings or Settings.from_env()
    given = settings.given_ledger
    path = sqlite_file(given) if given else results / "ledger.sqlite"
    if path is not None and not path.exists():
        where = f"{results} holds no ledger" if given is None else f"AUTOINTERP_LEDGER: there is no {path}"
        raise UsageError(
            f"{where}: start a run with `autointerp run SPEC` or `autointerp submit SPEC`, or name another --results"
        )
    return open_ledger(results, settings)


def existing_run_ids(results: Path) -> list[str]:
    """The ids of all runs in the ledger, newest first. Raises `UsageError` if there is no ledger."""
    with closing(existing_ledger(results)) as ledger:
        return run_ids(ledger)


def sqlite_file(url: str) -> Path | None:
    """The file behind a URL of SQLite, or None, also for a URL that cannot be read."""
    try:
        location = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        return None
    return Path(location.database) if location.get_backend_name() == "sqlite" and location.database else None
