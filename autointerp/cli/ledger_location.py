"""Where the command line finds the ledger."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from autointerp.errors import UsageError
from autointerp.ledger.database import FILE, Ledger
from autointerp.monitoring.run_list import run_ids
from autointerp.settings import Settings


@dataclass(frozen=True)
class LedgerLocation:
    """The ledger of a results folder: where AUTOINTERP_LEDGER says, or else in the folder. Its methods raise `UsageError`."""

    results: Path

    def open(self) -> Ledger:
        """The ledger, made or migrated where need be."""
        return Ledger.in_folder(self.results, Settings.from_env().given_ledger)

    def open_existing(self) -> Ledger:
        """The ledger, for commands that only look: they make none."""
        given = Settings.from_env().given_ledger
        path = sqlite_file(given) if given else self._file
        if path is not None and not path.exists():
            where = f"{self.results} holds no ledger" if given is None else f"AUTOINTERP_LEDGER: there is no {path}"
            raise UsageError(
                f"{where}: start a run with `autointerp run SPEC` or `autointerp submit SPEC`, or name another --results"
            )
        return self.open()

    def exists(self) -> bool:
        """Whether there is a ledger in the results folder, or AUTOINTERP_LEDGER names one."""
        return Settings.from_env().given_ledger is not None or self._file.exists()

    def run_ids(self) -> list[str]:
        """The ids of all runs in the ledger, newest first."""
        with closing(self.open_existing()) as ledger:
            return run_ids(ledger)

    @property
    def _file(self) -> Path:
        return self.results / FILE


def sqlite_file(url: str) -> Path | None:
    """The file behind a URL of SQLite, or None, also for a URL that cannot be read."""
    try:
        location = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        return None
    return Path(location.database) if location.get_backend_name() == "sqlite" and location.database else None
