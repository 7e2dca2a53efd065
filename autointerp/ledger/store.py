"""Opens the ledger, brings its schema up to date, and hands out transactions."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

from autointerp.errors import UsageError

MIGRATIONS = Path(__file__).parent / "migrations"


class Ledger:
    """A database of runs, jobs, calls and judgements. Safe to share between threads.

    On SQLite, WAL lets readers go on during a write, and a commit survives `kill -9` of the process.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self._writing = threading.Lock()

    @classmethod
    def open(cls, url: str) -> Ledger:
        """Open, creating or migrating the schema as needed. Raises `UsageError`."""
        try:
            location = sa.make_url(url)
            if location.get_backend_name() == "sqlite" and location.database:
                Path(location.database).parent.mkdir(parents=True, exist_ok=True)
            engine = sa.create_engine(location, pool_pre_ping=location.get_backend_name() != "sqlite")
            if engine.dialect.name == "sqlite":
                sa.event.listen(engine, "connect", _prepare_sqlite)
                sa.event.listen(engine, "begin", _begin_sqlite)
            _migrate(engine)
        except (sa.exc.SQLAlchemyError, OSError) as error:
            cause = str(getattr(error, "orig", None) or error).splitlines()[0]
            raise UsageError(f"ledger {url} cannot be opened: {cause}: check the path or the database's URL") from None
        return cls(engine)

    @classmethod
    def in_folder(cls, results: Path) -> Ledger:
        """The ledger that belongs to a results folder."""
        return cls.open(f"sqlite:///{results / 'ledger.sqlite'}")

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write; one at a time in this process, committed at the end, rolled back on an error."""
        with self._writing, self.engine.connect().execution_options(write=True) as connection, connection.begin():
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads."""
        with self.engine.connect() as connection:
            yield connection

    def close(self) -> None:
        self.engine.dispose()


def insert_new(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert rows whose key is not there yet; the others are left as they are."""
    if rows:
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        connection.execute(dialect.insert(table).on_conflict_do_nothing(), rows)


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=30000", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("write") else "BEGIN")


def _migrate(engine: sa.Engine) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    newest = ScriptDirectory.from_config(config).get_current_head()
    with engine.connect() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    if found == newest:
        return
    if found is not None and found not in {r.revision for r in ScriptDirectory.from_config(config).walk_revisions()}:
        raise UsageError(f"ledger {engine.url} has schema {found}, newer than this program's {newest}: upgrade autointerp")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
