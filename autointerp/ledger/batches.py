"""Rows of `batches`: what was handed to a provider as a whole, written down before it was, so that nothing is handed in twice.

A batch is prepared (its items are calls that are open), submitted (the provider's id is known), and then collected or dissolved.
The map of its items is its calls: each names the job whose question it carries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from autointerp.ledger.calls import OPEN
from autointerp.ledger.database import now
from autointerp.ledger.schema import batches, calls, jobs

PREPARED, SUBMITTED, COLLECTED, DISSOLVED = "prepared", "submitted", "collected", "dissolved"
TENDED_S = 300.0
"""For so long a batch is left to the worker that took it up."""


def prepare(
    connection: Connection, batch_key: str, run_id: str, stage: str, judge: str, job_keys: Sequence[str]
) -> None:
    """Write a batch down and let its jobs travel with it; nobody else tends it for a while."""
    row = {"batch_key": batch_key, "run_id": run_id, "stage": stage, "judge": judge, "n_items": len(job_keys)}
    times = {"created_at": now(connection), "next_poll": now(connection) + TENDED_S}
    connection.execute(sa.insert(batches).values(**row, **times, state=PREPARED))
    for start in range(0, len(job_keys), 1000):
        mine = sa.and_(jobs.c.run_id == run_id, jobs.c.job_key.in_(job_keys[start : start + 1000]))
        connection.execute(sa.update(jobs).where(mine).values(state="batched", lease_owner=""))


def update(connection: Connection, batch_key: str, *, poll_in_s: float | None = None, **values: Any) -> None:
    """Change a batch's columns; `poll_in_s` says when it is to be tended next."""
    if poll_in_s is not None:
        values["next_poll"] = now(connection) + poll_in_s
    connection.execute(sa.update(batches).where(batches.c.batch_key == batch_key).values(**values))


def due(connection: Connection) -> list[RowMapping]:
    """Batches that want tending, of whatever run, in whatever state that is in."""
    mine = sa.and_(batches.c.state.in_((PREPARED, SUBMITTED)), batches.c.next_poll <= now(connection))
    return list(connection.execute(sa.select(batches).where(mine).order_by(batches.c.next_poll)).mappings())


def take(connection: Connection, batch_key: str) -> RowMapping | None:
    """Take a batch up that is due, so that no other worker does at the same time; None when one did."""
    mine = sa.and_(batches.c.batch_key == batch_key, batches.c.state.in_((PREPARED, SUBMITTED)))
    statement = (
        sa.update(batches)
        .where(mine, batches.c.next_poll <= now(connection))
        .values(next_poll=now(connection) + TENDED_S)
        .returning(*batches.c)
    )
    return connection.execute(statement).mappings().first()


def free(connection: Connection, run_id: str) -> None:
    """Let a run's batches be tended at once: whoever was at them is gone, as the caller, who holds the run's lock, knows."""
    connection.execute(sa.update(batches).where(batches.c.run_id == run_id).values(next_poll=0.0))


def get(connection: Connection, batch_key: str) -> RowMapping | None:
    return connection.execute(sa.select(batches).where(batches.c.batch_key == batch_key)).mappings().first()


def provider_ids(connection: Connection) -> set[str]:
    """The provider's ids of all batches that are known here."""
    return set(connection.execute(sa.select(batches.c.provider_id).where(batches.c.provider_id != "")).scalars())


def open_items(connection: Connection, batch_key: str) -> list[RowMapping]:
    """The calls of a batch whose outcome is not known yet."""
    mine = sa.and_(calls.c.batch_key == batch_key, calls.c.state == OPEN)
    columns = (calls.c.call_id, calls.c.job_key, calls.c.call_key, calls.c.reserved_usd, calls.c.month)
    return list(connection.execute(sa.select(*columns).where(mine)).mappings())


def give_back(
    connection: Connection, run_id: str, job_keys: Sequence[str], *, error: str, tried: bool, wait_s: float = 0.0
) -> None:
    """Make jobs of a batch that were not answered due again, after a while if need be; `tried` counts an attempt."""
    values = {"state": "waiting", "not_before": now(connection) + wait_s, "last_error": error}
    for start in range(0, len(job_keys), 1000):
        mine = sa.and_(jobs.c.run_id == run_id, jobs.c.job_key.in_(job_keys[start : start + 1000]))
        attempts = jobs.c.attempts + int(tried)
        connection.execute(sa.update(jobs).where(mine, jobs.c.state == "batched").values(attempts=attempts, **values))


def age(connection: Connection, row: RowMapping) -> float:
    """Seconds since a batch was written down."""
    return max(0.0, now(connection) - float(row["created_at"]))
