"""Rows of `events`: a short log of each run for `autointerp logs`. A few lines per run, never one per judgement."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from autointerp.ledger.schema import events


def add(
    connection: Connection,
    run_id: str,
    text: str,
    *,
    level: Literal["info", "warning", "error"] = "info",
    worker: str = "",
) -> None:
    """Record an event; an empty `run_id` means the service as a whole."""
    row = {"run_id": run_id, "at": time.time(), "level": level, "text": text, "worker": worker}
    connection.execute(sa.insert(events).values(**row))


def of_run(connection: Connection, run_id: str, *, after: int = 0) -> Sequence[RowMapping]:
    """A run's events after event `after`, in order."""
    statement = (
        sa.select(events).where(events.c.run_id == run_id, events.c.event_id > after).order_by(events.c.event_id)
    )
    return connection.execute(statement).mappings().all()
