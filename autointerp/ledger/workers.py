"""Rows of `workers`: who is alive. A worker counts its own beats; whoever watches compares counts, never clocks.

A clock that jumps, on any host, therefore neither frees a lease too early nor keeps a dead worker's for good.
"""

from __future__ import annotations

import os
import secrets
import socket
import time

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from autointerp.ledger import calls, leases
from autointerp.ledger.database import insert_new
from autointerp.ledger.schema import workers

LIVE, GONE = "live", "gone"


def new_id() -> str:
    """A name for one life of a process."""
    return f"{socket.gethostname()[:32]}-{os.getpid()}-{secrets.token_hex(4)}"


def register(connection: Connection, worker_id: str, *, queues: str, version: str) -> None:
    now = time.time()
    row = {"worker_id": worker_id, "host": socket.gethostname(), "pid": os.getpid(), "queues": queues, "state": LIVE}
    insert_new(connection, workers, [row | {"started_at": now, "beat_at": now, "version": version}])


def beat(connection: Connection, worker_id: str) -> bool:
    """Count one beat; False when the worker was declared dead meanwhile, and must begin a new life."""
    alive = sa.and_(workers.c.worker_id == worker_id, workers.c.state == LIVE)
    values = {"beat": workers.c.beat + 1, "beat_at": time.time()}
    return connection.execute(sa.update(workers).where(alive).values(**values)).rowcount == 1


def live(connection: Connection) -> list[RowMapping]:
    """All workers not known to be dead, oldest first."""
    statement = sa.select(workers).where(workers.c.state == LIVE).order_by(workers.c.started_at)
    return list(connection.execute(statement).mappings())


def recent(connection: Connection, most: int = 50) -> list[RowMapping]:
    """The workers that were started last, dead ones included."""
    statement = sa.select(workers).order_by(workers.c.started_at.desc()).limit(most)
    return list(connection.execute(statement).mappings())


def bury(connection: Connection, worker_id: str) -> tuple[int, int]:
    """Free what a worker held, at its death or its own end. Returns the leases freed and the calls lost in flight."""
    connection.execute(sa.update(workers).where(workers.c.worker_id == worker_id).values(state=GONE))
    lost = calls.write_off_of(connection, worker_id)
    return leases.release_of(connection, worker_id, lost), len(lost)
