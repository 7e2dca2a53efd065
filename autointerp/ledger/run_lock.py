"""Excludes other processes from a run: those with the same results folder, and those with the same ledger."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import sqlalchemy as sa

from autointerp.ledger.database import Ledger
from autointerp.locks import busy, locked

_TRY_LOCK = sa.text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
_UNLOCK = sa.text("SELECT pg_advisory_unlock(hashtextextended(:name, 0))")


@contextmanager
def run_lock(ledger: Ledger, results: Path, run_id: str) -> Iterator[None]:
    """Hold a run while the block runs. Raises `AlreadyLocked` and `LedgerFailed`."""
    what, database = f"run {run_id}", ledger.sqlite_path
    folders = {results.resolve()} | ({database.resolve().parent} if database else set())
    with ExitStack() as stack:
        for folder in sorted(folders):
            stack.enter_context(locked(folder / run_id / ".lock", what))
        if database is None:
            stack.enter_context(_database_lock(ledger, what))
        yield


@contextmanager
def row_lock(ledger: Ledger, file: Path, run_id: str, what: str) -> Iterator[None]:
    """Hold a row of the ledger that is no run, by a lock file of its own, while the block runs. Raises as `run_lock`."""
    with ExitStack() as stack:
        stack.enter_context(locked(file, what))
        if ledger.sqlite_path is None:
            stack.enter_context(_database_lock(ledger, run_id))
        yield


@contextmanager
def _database_lock(ledger: Ledger, what: str) -> Iterator[None]:
    """Hold a lock of PostgreSQL, which is freed when the connection ends: a killed process holds none."""
    with ledger.read() as connection:
        if not connection.execute(_TRY_LOCK, {"name": what}).scalar_one():
            raise busy(what)
        try:
            yield
        finally:
            with suppress(sa.exc.DBAPIError):  # the connection is gone, and the lock with it
                connection.execute(_UNLOCK, {"name": what})
