"""Rows of `events`: what happened to a run, for people to read afterwards. A few lines a run, never one a judgement."""

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
    """Note what happened; an empty `run_id` concerns no single run."""
    row = {"run_id": run_id, "at": time.time(), "level": level, "text": text, "worker": worker}
    connection.execute(sa.insert(events).values(**row))


def of_run(connection: Connection, run_id: str, *, after: int = 0) -> Sequence[RowMapping]:
    """A run's events in order, those later than event `after`."""
    statement = (
        sa.select(events).where(events.c.run_id == run_id, events.c.event_id > after).order_by(events.c.event_id)
    )
    return connection.execute(statement).mappings().all()
