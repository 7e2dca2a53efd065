"""Rows of `runs`: registering a run, its state, and the money it may still spend."""

from __future__ import annotations

import json
import time
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from autointerp.ledger.schema import runs
from autointerp.ledger.store import insert_new


def register(connection: Connection, *, run_id: str, name: str, spec_hash: str, spec: str) -> None:
    """Add a run, or take up the one that is there with the settings of today's spec."""
    now = time.time()
    row = {"run_id": run_id, "name": name, "spec_hash": spec_hash, "spec": spec, "state": "running"}
    insert_new(connection, runs, [row | {"created_at": now, "updated_at": now}])
    set_state(connection, run_id, "running")
    connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(spec=spec))


def set_state(connection: Connection, run_id: str, state: str, reason: str = "") -> None:
    values = {"state": state, "reason": reason, "updated_at": time.time()}
    connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(**values))


def get(connection: Connection, run_id: str) -> RowMapping | None:
    return connection.execute(sa.select(runs).where(runs.c.run_id == run_id)).mappings().first()


def every(connection: Connection) -> list[RowMapping]:
    """All runs, newest first."""
    return list(connection.execute(sa.select(runs).order_by(runs.c.created_at.desc())).mappings())


def add_time(connection: Connection, run_id: str, stage: str, seconds: float) -> None:
    """Add working time to a stage and to the run."""
    row = get(connection, run_id)
    stages: dict[str, Any] = json.loads(row["stage_s"]) if row else {}
    stages[stage] = stages.get(stage, 0.0) + seconds
    values = {"stage_s": json.dumps(stages), "wall_s": runs.c.wall_s + seconds, "updated_at": time.time()}
    connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(**values))


def reserve(connection: Connection, run_id: str, usd: float, limit: float | None) -> bool:
    """Set `usd` aside for a call about to be made; False, and nothing done, when that could exceed `limit`.

    One UPDATE decides, so the limit holds under any number of threads or workers.
    """
    committed = runs.c.spent_usd + runs.c.reserved_usd + runs.c.lost_usd
    statement = sa.update(runs).where(runs.c.run_id == run_id).values(reserved_usd=runs.c.reserved_usd + usd)
    if limit is not None:
        statement = statement.where(committed + usd <= limit)
    return connection.execute(statement).rowcount == 1


def settle(connection: Connection, run_id: str, reserved_usd: float, cost_usd: float | None) -> None:
    """Turn a reservation into what the call really cost; where that is unknown, all of it stays counted as lost."""
    lost = reserved_usd if cost_usd is None else 0.0
    values = {
        "reserved_usd": runs.c.reserved_usd - reserved_usd,
        "spent_usd": runs.c.spent_usd + (cost_usd or 0.0),
        "lost_usd": runs.c.lost_usd + lost,
    }
    connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(**values))
