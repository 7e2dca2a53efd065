"""Who holds which job: leases are taken, kept, given back and taken away here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection

from autointerp.ledger.database import now
from autointerp.ledger.jobs import _FIELDS, QUESTIONS, Job, _of
from autointerp.ledger.runs import LIVE
from autointerp.ledger.schema import jobs, runs, workers


def lease(connection: Connection, run_id: str, stage: str, *, most: int, owner: str) -> list[Job]:
    """Take up to `most` jobs that are due, in order of place; those that waited come when nothing else is left."""
    wanted = {"the_run": run_id, "the_stage": stage, "owner": owner}
    taken = _by_place(connection.execute(_TAKE_PENDING, wanted | {"most": most}))
    if len(taken) < most:
        waited = connection.execute(_TAKE_WAITED, wanted | {"most": most - len(taken), "moment": now(connection)})
        taken += _by_place(waited)
    return taken


def also(connection: Connection, run_id: str, job: Job) -> list[str]:
    """Other live runs of the fleet in which a job of the same stage and place is pending and was never begun, oldest first."""
    alike = sa.and_(
        jobs.c.stage == job.stage, jobs.c.place == job.place, jobs.c.state == "pending", jobs.c.attempts == 0
    )
    live = sa.and_(runs.c.state.in_(LIVE), runs.c.carrier == "fleet", runs.c.run_id != run_id)
    joined = sa.select(runs.c.run_id).join(jobs, jobs.c.run_id == runs.c.run_id).where(alike, live)
    return list(connection.execute(joined.order_by(runs.c.created_at)).scalars())


def lease_at(connection: Connection, run_id: str, job: Job, *, owner: str) -> Job | None:
    """Take a run's pending job of the same stage and place as `job`, or None when somebody was faster."""
    alike = sa.and_(jobs.c.run_id == run_id, jobs.c.stage == job.stage, jobs.c.place == job.place)
    statement = sa.update(jobs).where(alike, jobs.c.state == "pending").values(state="leased", lease_owner=owner)
    row = connection.execute(statement.returning(*(jobs.c[f] for f in _FIELDS))).first()
    return Job(*row) if row else None


def _by_place(rows: Iterable[Any]) -> list[Job]:
    return sorted((Job(*row) for row in rows), key=lambda job: job.place)


def _take(due: ColumnElement[bool]) -> sa.UpdateBase:
    mine = sa.and_(jobs.c.run_id == sa.bindparam("the_run"), jobs.c.stage == sa.bindparam("the_stage"), due)
    # Workers pass over each other's choices where the database can; elsewhere they write one at a time.
    # The choice is a CTE so that no plan makes it twice, and more of them.
    choice = sa.select(jobs.c.job_key).where(mine).order_by(jobs.c.place).limit(sa.bindparam("most", type_=sa.Integer))
    chosen = choice.with_for_update(skip_locked=True).cte("chosen")
    return (
        sa.update(jobs)  # not where `mine` again: a planner would go through all that are due
        .where(jobs.c.run_id == sa.bindparam("the_run"), jobs.c.job_key.in_(sa.select(chosen.c.job_key)))
        .values(state="leased", lease_owner=sa.bindparam("owner"))
        .returning(*(jobs.c[f] for f in _FIELDS))
    )


_TAKE_PENDING = _take(jobs.c.state == sa.literal_column("'pending'"))


_TAKE_WAITED = _take(
    sa.and_(jobs.c.state == sa.literal_column("'waiting'"), jobs.c.not_before <= sa.bindparam("moment", type_=sa.Float))
)


def postpone(connection: Connection, run_id: str, job: Job, *, owner: str, seconds: float, error: str) -> None:
    """Let a job wait, as a provider asked; that is no failed attempt."""
    held = sa.and_(_of(run_id, job.job_key), jobs.c.lease_owner == owner)
    values = {"state": "waiting", "lease_owner": "", "not_before": now(connection) + seconds, "last_error": error}
    connection.execute(sa.update(jobs).where(held).values(**values))


def put_back(connection: Connection, run_id: str, job_keys: Sequence[str], owner: str) -> None:
    """Give up leases on jobs that were not begun."""
    held = sa.and_(jobs.c.run_id == run_id, jobs.c.job_key.in_(job_keys), jobs.c.lease_owner == owner)
    connection.execute(sa.update(jobs).where(held, jobs.c.state == "leased").values(state="pending", lease_owner=""))


def release(connection: Connection, run_id: str) -> None:
    """Make leased and waiting jobs of a run pending: its only worker is gone, and the caller, who holds its lock, asks anew."""
    mine = sa.and_(jobs.c.run_id == run_id, jobs.c.state.in_(("leased", "waiting")))
    connection.execute(sa.update(jobs).where(mine).values(state="pending", lease_owner=""))


def release_orphans(connection: Connection, run_id: str) -> None:
    """Make jobs of a run pending that nobody alive is at, and those that wait: the run is taken up again."""
    living = sa.select(workers.c.worker_id).where(workers.c.state == "live")
    idle = sa.or_(jobs.c.state == "waiting", sa.and_(jobs.c.state == "leased", jobs.c.lease_owner.not_in(living)))
    connection.execute(sa.update(jobs).where(jobs.c.run_id == run_id, idle).values(state="pending", lease_owner=""))


def release_of(connection: Connection, owner: str, begun: Sequence[tuple[str, str]] = ()) -> int:
    """Make all jobs that a dead worker held pending. Returns how many.

    An attempt is counted against those it was at: `begun` questions, by run and key, and any job that is no question.
    """
    held = sa.and_(jobs.c.lease_owner == owner, jobs.c.state == "leased")
    at_work = sa.or_(jobs.c.stage.not_in(QUESTIONS), sa.tuple_(jobs.c.run_id, jobs.c.job_key).in_(begun))
    attempts = jobs.c.attempts + sa.case((at_work, 1), else_=0)
    values = {"state": "pending", "lease_owner": "", "attempts": attempts}
    return connection.execute(sa.update(jobs).where(held).values(**values)).rowcount


def fault(connection: Connection, run_id: str, job: Job, *, owner: str, error: str, seconds: float) -> None:
    """Let a job be taken again a while after an error of ours, and count the attempt; `exhausted` sees when it is enough."""
    held = sa.and_(_of(run_id, job.job_key), jobs.c.lease_owner == owner)
    values = {"state": "waiting", "lease_owner": "", "attempts": jobs.c.attempts + 1, "last_error": error}
    connection.execute(sa.update(jobs).where(held).values(not_before=now(connection) + seconds, **values))
