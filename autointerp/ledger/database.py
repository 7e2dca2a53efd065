"""Opens the ledger's database, migrates its schema, and provides transactions."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

from autointerp.errors import LedgerFailed, TransactionConflict, UsageError
from autointerp.ledger.revisions import MIGRATIONS, revisions

RETRY_FOR_S = 60.0
"""How long `write_with_retry` waits for a server that is away."""
LOCK_WAIT_S = 120
"""How long a write to SQLite waits for another program that holds the file's lock, such as a backup."""
CHECK_AFTER_IDLE_S = 2.0
"""A connection that was idle for longer is tested before it is used."""


class Ledger:
    """A database of runs, jobs, calls and judgements. Safe to share between threads.

    On SQLite, WAL lets readers continue during a write, and a commit survives `kill -9` of the process. Its writers queue for
    a lock here, which is cheaper than conflicts in the database; PostgreSQL lets them write concurrently.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.failures = 0
        """How often the database failed. A write just before a failure may or may not have been committed."""
        # Reading needs no transaction, which would cost two more round trips to a server.
        options = {} if engine.dialect.name == "sqlite" else {"isolation_level": "AUTOCOMMIT"}
        self._reader = engine.execution_options(**options)
        self._write_lock: AbstractContextManager[Any] = (
            threading.Lock() if engine.dialect.name == "sqlite" else nullcontext()
        )

    @classmethod
    def open(cls, url: str) -> Ledger:
        """Open a ledger, creating or migrating its schema if needed. Raises `UsageError`."""
        try:
            location = sa.make_url(url)
            if location.get_backend_name() == "sqlite" and location.database:
                Path(location.database).parent.mkdir(parents=True, exist_ok=True)
            engine = sa.create_engine(location, **_engine_options(location))
            if engine.dialect.name == "sqlite":
                sa.event.listen(engine, "connect", _prepare_sqlite)
                sa.event.listen(engine, "begin", _begin_sqlite)
            else:
                sa.event.listen(engine, "checkout", _check_idle)
            _migrate(engine)
        except (sa.exc.SQLAlchemyError, ImportError, OSError, ValueError) as error:
            raise UsageError(
                f"ledger {_without_password(url)} cannot be opened: {_cause(error)}: check the path or the database's URL"
            ) from None
        return cls(engine)

    @classmethod
    def in_folder(cls, results: Path, url: str | None = None) -> Ledger:
        """The ledger at `url`, or by default the one in a results folder. Raises `UsageError`."""
        return cls.open(url or f"sqlite:///{results / 'ledger.sqlite'}")

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write, committed at the end or rolled back on an error.

        Raises `LedgerFailed` if the database cannot be written, as on a full disk, and `TransactionConflict` if the same
        transaction may succeed when repeated.
        """
        with (
            self._one_line_errors(),
            self._write_lock,
            self.engine.connect().execution_options(write=True) as connection,
            connection.begin(),
        ):
            yield connection

    def write_with_retry(self, work: Callable[[Connection], None]) -> None:
        """Run `work` in a transaction of its own, repeated while a database server is away, so that no paid answer is lost.

        `work` must be idempotent: if only the confirmation of a commit was lost, it runs twice. Raises `LedgerFailed` after
        `RETRY_FOR_S`, or at once on SQLite.
        """
        deadline = time.monotonic() + RETRY_FOR_S
        while True:
            try:
                with self.write() as tx:
                    work(tx)
                return
            except LedgerFailed:
                if self.engine.dialect.name == "sqlite" or time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A read-only transaction; on PostgreSQL each statement is one of its own. Raises `LedgerFailed` if the database cannot be read."""
        with self._one_line_errors(), self._reader.connect() as connection:
            yield connection

    @contextmanager
    def _one_line_errors(self) -> Iterator[None]:
        """Turn failures of the database into one-line errors; mistakes in statements are raised as they are."""
        try:
            yield
        except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
            if _is_conflict(error):
                raise TransactionConflict(
                    f"ledger {self.engine.url}: {_cause(error)}: run the same command again"
                ) from error
            if not isinstance(error, (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError)):
                raise
            self.failures += 1
            raise LedgerFailed(
                f"ledger {self.engine.url}: {_cause(error)}: everything done so far is kept; fix the database and run the same command"
            ) from error

    def close(self) -> None:
        self.engine.dispose()


def insert_new(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert the rows whose key is new; existing rows stay unchanged."""
    if rows:
        connection.execute(insert_ignoring_conflicts(connection.dialect.name, table), rows)


@cache
def insert_ignoring_conflicts(dialect: str, table: Table) -> Any:
    """An INSERT that skips rows whose unique key exists."""
    return (postgresql if dialect == "postgresql" else sqlite).insert(table).on_conflict_do_nothing()


def advisory_lock(connection: Connection, name: str) -> None:
    """Hold a named lock until the transaction ends. Does nothing on SQLite, which has one writer at a time."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": name})


def now(connection: Connection) -> float:
    """Seconds since the epoch by the clock that all workers share: the database server's, or this host's for SQLite."""
    if connection.dialect.name == "postgresql":
        return float(connection.execute(sa.text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())
    return time.time()


def _engine_options(location: sa.URL) -> dict[str, Any]:
    if location.get_backend_name() == "sqlite":
        return {}
    # The threads of a worker share a few connections: a statement takes about 1 ms, a call to a judge about 1 s.
    return {"pool_size": 8, "max_overflow": 8, "pool_timeout": 120, "connect_args": {"connect_timeout": 10}}


def _check_idle(connection: Any, record: Any, _proxy: Any) -> None:
    """Test a connection that was idle before it is used, because the server may have restarted in the meantime.

    Testing each time would cost as much as the work itself.
    """
    idle, record.info["used"] = time.monotonic() - record.info.get("used", 0.0), time.monotonic()
    if idle > CHECK_AFTER_IDLE_S:
        try:
            connection.execute("SELECT 1")
            connection.rollback()
        except Exception as error:
            raise sa.exc.DisconnectionError(str(error)) from error


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in (f"busy_timeout={1000 * LOCK_WAIT_S}", "journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("write") else "BEGIN")


def schema_of(engine: sa.Engine) -> str | None:
    """The revision of a database's schema; None for an empty database."""
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def _migrate(engine: sa.Engine) -> None:
    known, schema = revisions(), schema_of(engine)
    newest = known[-1]
    if schema == newest:
        return
    if schema is not None and schema not in known:
        raise UsageError(
            f"ledger {engine.url} has schema {schema}, newer than this program's {newest}: upgrade autointerp"
        )
    # Importing Alembic takes longer than most commands run, and only a migration needs it.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    # If several processes arrive here at once, the first one migrates and the others find nothing left to do.
    with engine.connect().execution_options(write=True) as connection, connection.begin():
        advisory_lock(connection, "schema")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _is_conflict(error: BaseException) -> bool:
    """Whether the database cancelled a transaction because of a concurrent one: serialization failure or deadlock.

    PostgreSQL (seen in 15) also raises an internal "multixact" error if a row is updated at the moment when another update
    of it is rolled back while a third transaction holds it by a foreign key.
    """
    cause = getattr(error, "orig", None)
    state = getattr(cause, "sqlstate", None)
    return state in ("40001", "40P01") or (state == "XX000" and "multixact" in str(cause))


def _cause(error: BaseException) -> str:
    message = str(getattr(error, "orig", None) or error) or type(error).__name__
    return message.splitlines()[0]


def _without_password(url: str) -> str:
    """A database URL with its password hidden."""
    return re.sub(r"(?<=//)([^/@:]*):.*@", r"\1:***@", url)
