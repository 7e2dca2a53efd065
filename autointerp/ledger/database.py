"""Opens the ledger, brings its schema up to date, and hands out transactions."""

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

from autointerp.errors import Collided, LedgerFailed, UsageError
from autointerp.ledger.revisions import MIGRATIONS, revisions

PATIENCE_S = 60.0
IDLE_S = 2.0


class Ledger:
    """A database of runs, jobs, calls and judgements. Safe to share between threads.

    On SQLite, WAL lets readers go on during a write, and a commit survives `kill -9` of the process. Its writers take turns
    here, which is cheaper than having them collide there; PostgreSQL lets them write side by side.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.failures = 0
        """Times that the database failed: what was written just before may or may not be there."""
        # A look needs no transaction, which would take two more round trips to a server.
        looks = {} if engine.dialect.name == "sqlite" else {"isolation_level": "AUTOCOMMIT"}
        self._reader = engine.execution_options(**looks)
        self._writing: AbstractContextManager[Any] = (
            threading.Lock() if engine.dialect.name == "sqlite" else nullcontext()
        )

    @classmethod
    def open(cls, url: str) -> Ledger:
        """Open, creating or migrating the schema as needed. Raises `UsageError`."""
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
                f"ledger {_shown(url)} cannot be opened: {_cause(error)}: check the path or the database's URL"
            ) from None
        return cls(engine)

    @classmethod
    def in_folder(cls, results: Path, url: str | None = None) -> Ledger:
        """The ledger at `url`, or the one that belongs to a results folder."""
        return cls.open(url or f"sqlite:///{results / 'ledger.sqlite'}")

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write, committed at the end, rolled back on an error.

        Raises `LedgerFailed` when the database cannot be written, as on a full disk, and `Collided` when it may be tried again.
        """
        with (
            self._failing_in_one_line(),
            self._writing,
            self.engine.connect().execution_options(write=True) as connection,
            connection.begin(),
        ):
            yield connection

    def insist(self, work: Callable[[Connection], None]) -> None:
        """Do `work` in a transaction of its own, again while a server cannot carry it out: a paid answer outlives its restart.

        `work` may be done twice, where only the news of its first time was lost. Raises `LedgerFailed` after a minute.
        """
        deadline = time.monotonic() + PATIENCE_S
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
        """A transaction that only reads. Raises `LedgerFailed` when the database cannot be read."""
        with self._failing_in_one_line(), self._reader.connect() as connection:
            yield connection

    @contextmanager
    def _failing_in_one_line(self) -> Iterator[None]:
        try:
            yield
        except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
            if _collided(error):
                raise Collided(f"ledger {self.engine.url}: {_cause(error)}: run the same command again") from error
            if not isinstance(error, (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError)):
                raise
            self.failures += 1
            raise LedgerFailed(
                f"ledger {self.engine.url}: {_cause(error)}: what was done so far is kept; mend it and run the same command"
            ) from error

    def close(self) -> None:
        self.engine.dispose()


def insert_new(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert rows whose key is not there yet; the others are left as they are."""
    if rows:
        connection.execute(insert_or_nothing(connection.dialect.name, table), rows)


@cache
def insert_or_nothing(dialect: str, table: Table) -> Any:
    """An insert that does nothing where a unique key is taken."""
    return (postgresql if dialect == "postgresql" else sqlite).insert(table).on_conflict_do_nothing()


def one_at_a_time(connection: Connection, name: str) -> None:
    """Wait until no other transaction that took this name is open. SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": name})


def now(connection: Connection) -> float:
    """Seconds since the epoch by the clock that all workers share: the database server's, or this host's."""
    if connection.dialect.name == "postgresql":
        return float(connection.execute(sa.text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())
    return time.time()


def _engine_options(location: sa.URL) -> dict[str, Any]:
    if location.get_backend_name() == "sqlite":
        return {}
    # Threads of a worker share a few connections: a statement takes a millisecond, a call to a judge a thousand.
    return {"pool_size": 8, "max_overflow": 8, "pool_timeout": 120, "connect_args": {"connect_timeout": 10}}


def _check_idle(connection: Any, record: Any, _proxy: Any) -> None:
    """Let a connection that was idle answer before it is used: the server may have been restarted. Asking each time would
    cost as much as the work."""
    idle, record.info["used"] = time.monotonic() - record.info.get("used", 0.0), time.monotonic()
    if idle > IDLE_S:
        try:
            connection.execute("SELECT 1")
            connection.rollback()
        except Exception as error:
            raise sa.exc.DisconnectionError(str(error)) from error


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in ("busy_timeout=30000", "journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("write") else "BEGIN")


def schema_of(engine: sa.Engine) -> str | None:
    """The revision of a database's schema; None where there is none."""
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
    # Alembic takes longer to import than most commands take: only a migration needs it.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    # Of several processes that come here at once the first migrates, and the others find nothing left to do.
    with engine.connect().execution_options(write=True) as connection, connection.begin():
        one_at_a_time(connection, "schema")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _collided(error: BaseException) -> bool:
    """Whether two transactions met. Besides what says so, PostgreSQL (15 at least) gives an internal error to who updates a row
    in the moment in which another's update of it is rolled back, if a third holds it by a foreign key."""
    cause = getattr(error, "orig", None)
    state = getattr(cause, "sqlstate", None)
    return state in ("40001", "40P01") or (state == "XX000" and "multixact" in str(cause))


def _cause(error: BaseException) -> str:
    said = str(getattr(error, "orig", None) or error) or type(error).__name__
    return said.splitlines()[0]


def _shown(url: str) -> str:
    """A database's URL without its password."""
    return re.sub(r"(?<=//)([^/@:]*):.*@", r"\1:***@", url)
