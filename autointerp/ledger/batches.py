"""Rows of `batches`: provider batches, recorded before they are submitted so that none is ever submitted twice.

A batch is `prepared` (its items are open calls), then `submitted` (the provider's id is known), and ends `collected` or
`dissolved`. Its calls are its items: each names the job whose question it asks.
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
CLAIM_S = 300.0
"""How long a batch is left to the worker that claimed it."""


def prepare(
    connection: Connection, batch_key: str, run_id: str, stage: str, judge: str, job_keys: Sequence[str], owner: str
) -> None:
    """Record a batch and mark its jobs as batched. It is claimed for `CLAIM_S` by `owner`, the worker that prepares it."""
    row: dict[str, Any] = {"batch_key": batch_key, "run_id": run_id, "stage": stage, "judge": judge}
    row |= {"n_items": len(job_keys), "claimed_by": owner}
    times = {"created_at": now(connection), "next_poll": now(connection) + CLAIM_S}
    connection.execute(sa.insert(batches).values(**row, **times, state=PREPARED))
    for start in range(0, len(job_keys), 1000):
        mine = sa.and_(jobs.c.run_id == run_id, jobs.c.job_key.in_(job_keys[start : start + 1000]))
        connection.execute(sa.update(jobs).where(mine).values(state="batched", lease_owner=""))


def update(connection: Connection, batch_key: str, *, poll_in_s: float | None = None, **values: Any) -> None:
    """Change columns of a batch; `poll_in_s` sets the time until it is due again."""
    if poll_in_s is not None:
        values["next_poll"] = now(connection) + poll_in_s
    connection.execute(sa.update(batches).where(batches.c.batch_key == batch_key).values(**values))


def due(connection: Connection) -> list[RowMapping]:
    """Unfinished batches whose next poll is due, of every run, whatever the run's state."""
    mine = sa.and_(batches.c.state.in_((PREPARED, SUBMITTED)), batches.c.next_poll <= now(connection))
    return list(connection.execute(sa.select(batches).where(mine).order_by(batches.c.next_poll)).mappings())


def claim(connection: Connection, batch_key: str, owner: str) -> RowMapping | None:
    """Claim a due batch for a worker for `CLAIM_S`; None if another one was faster."""
    mine = sa.and_(batches.c.batch_key == batch_key, batches.c.state.in_((PREPARED, SUBMITTED)))
    statement = (
        sa.update(batches)
        .where(mine, batches.c.next_poll <= now(connection))
        .values(next_poll=now(connection) + CLAIM_S, claimed_by=owner)
        .returning(*batches.c)
    )
    return connection.execute(statement).mappings().first()


def release_claims(connection: Connection, run_id: str) -> None:
    """Make a run's batches due at once. Call it with the run's lock held, when nobody else can be polling them."""
    connection.execute(sa.update(batches).where(batches.c.run_id == run_id).values(next_poll=0.0))


def release_worker(connection: Connection, owner: str) -> None:
    """Make the batches that a dead worker had claimed due at once."""
    mine = sa.and_(batches.c.claimed_by == owner, batches.c.state.in_((PREPARED, SUBMITTED)))
    connection.execute(sa.update(batches).where(mine).values(next_poll=0.0))


def get(connection: Connection, batch_key: str) -> RowMapping | None:
    """A batch's row, or None."""
    return connection.execute(sa.select(batches).where(batches.c.batch_key == batch_key)).mappings().first()


def exist(connection: Connection, run_id: str, stage: str) -> bool:
    """Whether any question of a run's stage was put into a batch."""
    mine = sa.and_(batches.c.run_id == run_id, batches.c.stage == stage)
    return connection.execute(sa.select(sa.exists().where(mine))).scalar_one()


def provider_ids(connection: Connection) -> set[str]:
    """The provider's ids of all recorded batches."""
    return set(connection.execute(sa.select(batches.c.provider_id).where(batches.c.provider_id != "")).scalars())


def open_calls(connection: Connection, batch_key: str) -> list[RowMapping]:
    """The calls of a batch that have no outcome yet."""
    mine = sa.and_(calls.c.batch_key == batch_key, calls.c.state == OPEN)
    columns = (calls.c.call_id, calls.c.job_key, calls.c.call_key, calls.c.reserved_usd, calls.c.month)
    return list(connection.execute(sa.select(*columns).where(mine)).mappings())


def job_keys(connection: Connection, batch_key: str) -> list[str]:
    """The keys of the jobs whose questions a batch asked."""
    return list(connection.execute(sa.select(calls.c.job_key).where(calls.c.batch_key == batch_key)).scalars())


def return_jobs(
    connection: Connection, run_id: str, job_keys: Sequence[str], *, error: str, tried: bool, wait_s: float = 0.0
) -> None:
    """Make jobs of a batch due again after `wait_s`, unless one has an open call or has ended; `tried` counts an attempt."""
    values = {"state": "waiting", "not_before": now(connection) + wait_s, "last_error": error}
    is_asked = sa.exists().where(calls.c.run_id == run_id, calls.c.job_key == jobs.c.job_key, calls.c.state == OPEN)
    for start in range(0, len(job_keys), 1000):
        mine = sa.and_(jobs.c.run_id == run_id, jobs.c.job_key.in_(job_keys[start : start + 1000]))
        left = sa.and_(mine, jobs.c.state == "batched", sa.not_(is_asked))
        connection.execute(sa.update(jobs).where(left).values(attempts=jobs.c.attempts + int(tried), **values))


def age_s(connection: Connection, row: RowMapping) -> float:
    """Seconds since a batch was recorded."""
    return max(0.0, now(connection) - float(row["created_at"]))
