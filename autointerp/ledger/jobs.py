"""Rows of `jobs`: what a run still has to ask, and who is at it.

A job is pending, leased by somebody until a time, waiting until a time, done, or failed. Leasing is one UPDATE, so two
workers never hold the same job; a lease that ran out may be taken again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from autointerp.ledger.schema import jobs
from autointerp.ledger.store import insert_new


@dataclass(frozen=True)
class Job:
    """One question to a judge, by reference: the prompt is rendered from these when it is asked."""

    job_key: str
    stage: str
    unit_id: str
    exemplar_id: str = ""
    arm: str = ""
    repeat: int = 0
    explanation_unit_id: str = ""
    place: int = 0
    attempts: int = 0


_FIELDS = tuple(Job.__dataclass_fields__)


def plan(connection: Connection, run_id: str, planned: list[Job]) -> None:
    """Add jobs that are not there yet; whatever is known of the others stays."""
    rows = [{"run_id": run_id, "state": "pending", **{f: getattr(job, f) for f in _FIELDS}} for job in planned]
    for start in range(0, len(rows), 1000):
        insert_new(connection, jobs, rows[start : start + 1000])


def lease(connection: Connection, run_id: str, stage: str, *, most: int, now: float, until: float) -> list[Job]:
    """Take up to `most` jobs that are due, in order of place."""
    due = sa.or_(
        jobs.c.state == "pending",
        sa.and_(jobs.c.state == "waiting", jobs.c.not_before <= now),
        sa.and_(jobs.c.state == "leased", jobs.c.lease_until <= now),
    )
    mine = sa.and_(jobs.c.run_id == run_id, jobs.c.stage == stage)
    chosen = sa.select(jobs.c.job_key).where(mine, due).order_by(jobs.c.place).limit(most)
    statement = (
        sa.update(jobs)
        .where(mine, due, jobs.c.job_key.in_(chosen))
        .values(state="leased", lease_until=until, attempts=jobs.c.attempts + 1)
        .returning(*(jobs.c[f] for f in _FIELDS))
    )
    return sorted((Job(*row) for row in connection.execute(statement)), key=lambda job: job.place)


def finish(connection: Connection, run_id: str, job_key: str) -> None:
    _update(connection, run_id, job_key, state="done", last_error="")


def postpone(connection: Connection, run_id: str, job_key: str, *, not_before: float, error: str) -> None:
    """Let a job wait until a time, as a provider asked."""
    _update(connection, run_id, job_key, state="waiting", not_before=not_before, lease_until=0.0, last_error=error)


def release(connection: Connection, run_id: str) -> None:
    """Make leased and waiting jobs of a run pending: its only worker is gone, and the caller, who holds its lock, asks anew."""
    mine = sa.and_(jobs.c.run_id == run_id, jobs.c.state.in_(("leased", "waiting")))
    connection.execute(sa.update(jobs).where(mine).values(state="pending", lease_until=0.0))


def counts(connection: Connection, run_id: str) -> dict[str, dict[str, int]]:
    """Jobs by stage and state."""
    columns = (jobs.c.stage, jobs.c.state)
    statement = sa.select(*columns, sa.func.count()).where(jobs.c.run_id == run_id).group_by(*columns)
    result: dict[str, dict[str, int]] = {}
    for stage, state, n in connection.execute(statement):
        result.setdefault(stage, {})[state] = n
    return result


def next_due(connection: Connection, run_id: str, stage: str) -> float | None:
    """When the earliest waiting job may be asked, or None when none waits."""
    mine = sa.and_(jobs.c.run_id == run_id, jobs.c.stage == stage, jobs.c.state == "waiting")
    return connection.execute(sa.select(sa.func.min(jobs.c.not_before)).where(mine)).scalar()


def _update(connection: Connection, run_id: str, job_key: str, **values: Any) -> None:
    mine = sa.and_(jobs.c.run_id == run_id, jobs.c.job_key == job_key)
    connection.execute(sa.update(jobs).where(mine).values(**values))
