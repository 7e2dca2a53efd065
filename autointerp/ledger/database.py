"""Opens the ledger's database, migrates its schema, and provides transactions."""

from __future__ import annotations

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

from autointerp import redaction
from autointerp.errors import LedgerFailed, LedgerRejected, TransactionConflict, UsageError
from autointerp.ledger import sqlite_file
from autointerp.ledger.revisions import MIGRATIONS, revisions

FILE = "ledger.sqlite"
"""Name of the ledger of a results folder."""
RETRY_FOR_S = 60.0
"""How long `write_with_retry` waits for a server that is away."""
_REJECTED = (sa.exc.DataError, sa.exc.IntegrityError, sa.exc.ProgrammingError, sa.exc.NotSupportedError)
"""Errors whose cause is a value or a statement. Those of other types are the database's own, such as a damaged file."""
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
        self._thread = threading.local()
        """`joined`: the transaction of `together` in this thread."""

    @classmethod
    def open(cls, url: str | sa.URL) -> Ledger:
        """Open a ledger, creating or migrating its schema if needed. Raises `UsageError`."""
        redaction.learn(redaction.passwords_in(_text(url)))
        try:
            location = sa.make_url(url)
            if location.get_backend_name() == "sqlite" and _is_file(location.database):
                sqlite_file.prepare(Path(str(location.database)), _make)
            engine = _engine(location)
            _migrate(engine)
        except (sa.exc.SQLAlchemyError, ImportError, OSError, ValueError) as error:
            raise UsageError(
                f"ledger {_shown(url)} cannot be opened: {_cause(error)}: check the path or the database's URL"
            ) from None
        return cls(engine)

    @classmethod
    def in_folder(cls, results: Path, url: str | None = None) -> Ledger:
        """The ledger at `url`, or by default the one in a results folder. Raises `UsageError`."""
        return cls.open(url or sa.URL.create("sqlite", database=str(results / FILE)))

    @property
    def name(self) -> str:
        """The database's URL with its passwords hidden."""
        return _shown(self.engine.url)

    @property
    def sqlite_path(self) -> Path | None:
        """The file of the database, or None if it is not SQLite."""
        return Path(self.engine.url.database or "") if self.engine.dialect.name == "sqlite" else None

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write, committed at the end or rolled back on an error.

        Raises `LedgerFailed` if the database cannot be written, as on a full disk, and `TransactionConflict` if the same
        transaction may succeed when repeated. Within `together` it is a part of that transaction.
        """
        if (joined := getattr(self._thread, "joined", None)) is not None:
            with self._one_line_errors(), joined.begin_nested():
                yield joined
            return
        with (
            self._one_line_errors(),
            self._write_lock,
            self.engine.connect().execution_options(write=True) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def together(self) -> Iterator[None]:
        """Make all reads and writes of the block one transaction, which is committed at its end: a commit for many answers that cost
        nothing to ask again. Raises what `write` raises."""
        with self.write() as tx:
            self._thread.joined = tx
            try:
                yield
            finally:
                self._thread.joined = None

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
        if (joined := getattr(self._thread, "joined", None)) is not None:
            with self._one_line_errors():
                yield joined
            return
        with self._one_line_errors(), self._reader.connect() as connection:
            yield connection

    @contextmanager
    def _one_line_errors(self) -> Iterator[None]:
        """Turn errors of the database into one-line errors, which hold no statement and no value."""
        try:
            yield
        except (sa.exc.StatementError, sa.exc.TimeoutError) as error:
            if _is_conflict(error):
                raise TransactionConflict(
                    f"ledger {_shown(self.engine.url)}: {_cause(error)}: run the same command again"
                ) from None
            if isinstance(error, _REJECTED) or type(error) is sa.exc.StatementError:
                raise LedgerRejected(
                    f"ledger {_shown(self.engine.url)} rejects a value: {_cause(error)}: please report it"
                ) from None
            self.failures += 1
            if self._file and _is_full(error):
                sqlite_file.free_reserve(self._file)
            raise self._failed(_cause(error)) from None

    def keep_room(self) -> None:
        """Hold disk space for the answers of calls in flight, which is freed when the disk is full. Raises `LedgerFailed`.

        Call it before each call, so that none is made whose answer cannot be stored. Does nothing for a database server.
        """
        if self._file:
            try:
                sqlite_file.keep_reserve(self._file)
            except OSError as error:
                raise self._failed(str(error.strerror)) from None

    def _failed(self, cause: str) -> LedgerFailed:
        return LedgerFailed(
            f"ledger {_shown(self.engine.url)}: {cause}: everything done so far is kept; fix the database and run the same command"
        )

    @property
    def _file(self) -> Path | None:
        return self.sqlite_path if _is_file(self.engine.url.database) else None

    def close(self) -> None:
        self.engine.dispose()
        if self._file:
            sqlite_file.free_reserve(self._file)


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


def _engine(location: sa.URL) -> sa.Engine:
    """The database's engine. Its errors quote no parameters, which are prompts and replies."""
    if location.get_backend_name() == "sqlite":
        engine = sa.create_engine(location, hide_parameters=True)
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
        return engine
    # The threads of a worker share a few connections: a statement takes about 1 ms, a call to a judge about 1 s.
    pool = {"pool_size": 8, "max_overflow": 8, "pool_timeout": 120}
    engine = sa.create_engine(location, hide_parameters=True, connect_args={"connect_timeout": 10}, **pool)
    sa.event.listen(engine, "checkout", _check_idle)
    return engine


def _is_file(database: str | None) -> bool:
    """Whether SQLite keeps a database in a plain file, and not in memory or behind a URI."""
    return bool(database) and not str(database).startswith((":memory:", "file:"))


def _make(path: Path) -> None:
    """Make an empty ledger in a new SQLite file."""
    engine = _engine(sa.URL.create("sqlite", database=str(path)))
    try:
        _migrate(engine)
    finally:
        engine.dispose()


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
            f"ledger {_shown(engine.url)} has schema {schema}, newer than this program's {newest}: upgrade autointerp"
        )
    # Importing Alembic takes longer than most commands run, and only a migration needs it.
    from alembic import command, config

    options = config.Config()
    options.set_main_option("script_location", str(MIGRATIONS))
    # If several processes arrive here at once, the first one migrates and the others find nothing left to do.
    with engine.connect().execution_options(write=True) as connection, connection.begin():
        advisory_lock(connection, "schema")
        options.attributes["connection"] = connection
        command.upgrade(options, "head")


def _is_conflict(error: BaseException) -> bool:
    """Whether the database cancelled a transaction because of a concurrent one: serialization failure or deadlock.

    PostgreSQL (seen in 15) also raises an internal "multixact" error if a row is updated at the moment when another update
    of it is rolled back while a third transaction holds it by a foreign key.
    """
    cause = getattr(error, "orig", None)
    state = getattr(cause, "sqlstate", None)
    return state in ("40001", "40P01") or (state == "XX000" and "multixact" in str(cause))


def _is_full(error: BaseException) -> bool:
    """Whether SQLite could not write because the disk is full."""
    return str(getattr(getattr(error, "orig", None), "sqlite_errorname", "")) == "SQLITE_FULL"


def _cause(error: BaseException) -> str:
    message = str(getattr(error, "orig", None) or error) or type(error).__name__
    return redaction.hide(message.splitlines()[0])


def _shown(url: str | sa.URL) -> str:
    """A database URL with its passwords hidden."""
    return redaction.hide_passwords(redaction.hide_known(_text(url)))


def _text(url: str | sa.URL) -> str:
    return url.render_as_string(hide_password=False) if isinstance(url, sa.URL) else url
