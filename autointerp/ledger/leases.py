"""Leases of jobs: taking one, returning it, and freeing those of dead workers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection

from autointerp.ledger.database import now
from autointerp.ledger.jobs import COLUMNS, QUESTIONS, Job, is_job
from autointerp.ledger.runs import LIVE_WITH_WORKERS
from autointerp.ledger.schema import jobs, runs, workers


def lease(
    connection: Connection, run_id: str, stage: str, *, most: int, owner: str, scorer: str | None = None
) -> list[Job]:
    """Lease up to `most` due jobs, of one scorer if given, in order of place. Jobs that waited come after all pending ones."""
    parameters = {"the_run": run_id, "the_stage": stage, "owner": owner}
    pending, waited = (_TAKE_PENDING, _TAKE_WAITED) if scorer is None else (_TAKE_PENDING_OF, _TAKE_WAITED_OF)
    if scorer is not None:
        parameters |= {"the_scorer": scorer}
    taken = _by_place(connection.execute(pending, parameters | {"most": most}))
    if len(taken) < most:
        moment = now(connection)
        taken += _by_place(connection.execute(waited, parameters | {"most": most - len(taken), "moment": moment}))
    return taken


def matching_in_other_runs(connection: Connection, run_id: str, job: Job) -> list[str]:
    """Other live runs of the workers that have a pending, never attempted job of the same stage and place, oldest first."""
    alike = sa.and_(
        jobs.c.stage == job.stage, jobs.c.place == job.place, jobs.c.state == "pending", jobs.c.attempts == 0
    )
    others = sa.and_(LIVE_WITH_WORKERS, runs.c.run_id != run_id)
    joined = sa.select(runs.c.run_id).join(jobs, jobs.c.run_id == runs.c.run_id).where(alike, others)
    return list(connection.execute(joined.order_by(runs.c.created_at)).scalars())


def lease_matching(connection: Connection, run_id: str, job: Job, *, owner: str) -> Job | None:
    """Lease a run's pending job of the same stage and place as `job`; None if another worker was faster."""
    alike = sa.and_(jobs.c.run_id == run_id, jobs.c.stage == job.stage, jobs.c.place == job.place)
    statement = sa.update(jobs).where(alike, jobs.c.state == "pending").values(state="leased", lease_owner=owner)
    row = connection.execute(statement.returning(*COLUMNS)).first()
    return Job(*row) if row else None


def _by_place(rows: Iterable[Any]) -> list[Job]:
    return sorted((Job(*row) for row in rows), key=lambda job: job.place)


def _take(due: ColumnElement[bool]) -> sa.UpdateBase:
    mine = sa.and_(jobs.c.run_id == sa.bindparam("the_run"), jobs.c.stage == sa.bindparam("the_stage"), due)
    # SKIP LOCKED lets concurrent workers choose different jobs on PostgreSQL; SQLite has one writer at a time.
    # The choice is a CTE because a subquery may be evaluated again during the UPDATE, and then lease more than `most`.
    choice = sa.select(jobs.c.job_key).where(mine).order_by(jobs.c.place).limit(sa.bindparam("most", type_=sa.Integer))
    chosen = choice.with_for_update(skip_locked=True).cte("chosen")
    return (
        sa.update(jobs)  # `mine` is not repeated here: the planner would scan every due job
        .where(jobs.c.run_id == sa.bindparam("the_run"), jobs.c.job_key.in_(sa.select(chosen.c.job_key)))
        .values(state="leased", lease_owner=sa.bindparam("owner"))
        .returning(*COLUMNS)
    )


_PENDING = jobs.c.state == sa.literal_column("'pending'")
_WAITED = sa.and_(
    jobs.c.state == sa.literal_column("'waiting'"), jobs.c.not_before <= sa.bindparam("moment", type_=sa.Float)
)
_OF_SCORER = jobs.c.scorer == sa.bindparam("the_scorer")
_TAKE_PENDING, _TAKE_WAITED = _take(_PENDING), _take(_WAITED)
_TAKE_PENDING_OF, _TAKE_WAITED_OF = _take(sa.and_(_PENDING, _OF_SCORER)), _take(sa.and_(_WAITED, _OF_SCORER))


def postpone(connection: Connection, run_id: str, job: Job, *, owner: str, seconds: float, error: str) -> None:
    """Make a held job wait, as the provider asked. This does not count as a failed attempt."""
    held = sa.and_(is_job(run_id, job.job_key), jobs.c.lease_owner == owner)
    values = {"state": "waiting", "lease_owner": "", "not_before": now(connection) + seconds, "last_error": error}
    connection.execute(sa.update(jobs).where(held).values(**values))


def put_back(connection: Connection, run_id: str, job_keys: Sequence[str], owner: str) -> None:
    """Return leases on jobs that were not begun."""
    held = sa.and_(jobs.c.run_id == run_id, jobs.c.job_key.in_(job_keys), jobs.c.lease_owner == owner)
    connection.execute(sa.update(jobs).where(held, jobs.c.state == "leased").values(state="pending", lease_owner=""))


def release(connection: Connection, run_id: str) -> None:
    """Make a run's leased and waiting jobs pending. Call it with the run's lock held, when its only worker is gone."""
    mine = sa.and_(jobs.c.run_id == run_id, jobs.c.state.in_(("leased", "waiting")))
    connection.execute(sa.update(jobs).where(mine).values(state="pending", lease_owner=""))


def release_orphans(connection: Connection, run_id: str) -> None:
    """Make a run's waiting jobs, and those leased by a worker that is not alive, pending: the run is resumed."""
    living = sa.select(workers.c.worker_id).where(workers.c.state == "live")
    idle = sa.or_(jobs.c.state == "waiting", sa.and_(jobs.c.state == "leased", jobs.c.lease_owner.not_in(living)))
    connection.execute(sa.update(jobs).where(jobs.c.run_id == run_id, idle).values(state="pending", lease_owner=""))


def release_worker(connection: Connection, owner: str, begun: Sequence[tuple[str, str]] = ()) -> int:
    """Make all jobs that a dead worker held pending. Returns their number.

    An attempt is counted for the jobs it had begun: questions in `begun`, given as (run, job key), and every other job.
    """
    held = sa.and_(jobs.c.lease_owner == owner, jobs.c.state == "leased")
    at_work = sa.or_(jobs.c.stage.not_in(QUESTIONS), sa.tuple_(jobs.c.run_id, jobs.c.job_key).in_(begun))
    attempts = jobs.c.attempts + sa.case((at_work, 1), else_=0)
    values = {"state": "pending", "lease_owner": "", "attempts": attempts}
    return connection.execute(sa.update(jobs).where(held).values(**values)).rowcount


def fail_attempt(connection: Connection, run_id: str, job: Job, *, owner: str, error: str, seconds: float) -> None:
    """Count a failed attempt of a held job and let it wait before the next; see `jobs.exhausted` for the last one."""
    held = sa.and_(is_job(run_id, job.job_key), jobs.c.lease_owner == owner)
    values = {"state": "waiting", "lease_owner": "", "attempts": jobs.c.attempts + 1, "last_error": error}
    connection.execute(sa.update(jobs).where(held).values(not_before=now(connection) + seconds, **values))
