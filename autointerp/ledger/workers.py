"""Rows of `workers`: which workers are alive. A worker counts its own heartbeats; observers compare counts, never clocks.

So a clock that jumps on any host neither frees a lease too early nor keeps a dead worker's lease forever.
"""

from __future__ import annotations

import os
import secrets
import socket
import time

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from autointerp.ledger import batches, calls, leases
from autointerp.ledger.database import insert_new
from autointerp.ledger.schema import workers

LIVE, GONE = "live", "gone"


def new_id() -> str:
    """A new worker id. A process gets another one when it registers again."""
    return f"{socket.gethostname()[:32]}-{os.getpid()}-{secrets.token_hex(4)}"


def register(connection: Connection, worker_id: str, *, queues: str, version: str) -> None:
    """Add a live worker of this process."""
    now = time.time()
    row = {"worker_id": worker_id, "host": socket.gethostname(), "pid": os.getpid(), "queues": queues, "state": LIVE}
    insert_new(connection, workers, [row | {"started_at": now, "beat_at": now, "version": version}])


def beat(connection: Connection, worker_id: str) -> bool:
    """Count one heartbeat; False if the worker was declared dead in the meantime and must register again."""
    alive = sa.and_(workers.c.worker_id == worker_id, workers.c.state == LIVE)
    values = {"beat": workers.c.beat + 1, "beat_at": time.time()}
    return connection.execute(sa.update(workers).where(alive).values(**values)).rowcount == 1


def live(connection: Connection) -> list[RowMapping]:
    """Workers that are not known to be dead, oldest first."""
    statement = sa.select(workers).where(workers.c.state == LIVE).order_by(workers.c.started_at)
    return list(connection.execute(statement).mappings())


def recent(connection: Connection, most: int = 50) -> list[RowMapping]:
    """The newest workers, dead ones included, newest first."""
    statement = sa.select(workers).order_by(workers.c.started_at.desc()).limit(most)
    return list(connection.execute(statement).mappings())


def mark_dead(connection: Connection, worker_id: str) -> tuple[int, int]:
    """Mark a worker as dead, free its leases and batches and write off its calls. Returns the numbers of leases and calls."""
    connection.execute(sa.update(workers).where(workers.c.worker_id == worker_id).values(state=GONE))
    batches.release_worker(connection, worker_id)
    lost = calls.write_off_worker(connection, worker_id)
    return leases.release_worker(connection, worker_id, lost), len(lost)
