"""Where a run stands, in one read: its jobs by stage and state, what waits until when, how fast it goes, what it cost.

Every query is answered by an index, so that a run of a million jobs is told of in a fraction of a second.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from autointerp.ledger import budgets, jobs, judgements, runs, workers
from autointerp.ledger.calls import ERROR, LOST, OPEN
from autointerp.ledger.database import now
from autointerp.ledger.schema import calls, nights
from autointerp.ledger.schema import jobs as jobs_

NEWEST, RECENT_S = 4096, 300.0
"""The rate is taken from so many of the newest calls at most, and from those of the last five minutes."""
SILENT_S = 60.0
"""A worker that has not beaten for so long is not counted on."""
ERRORS = 5


@dataclass(frozen=True)
class Purse:
    """What a budget has paid or promised, and its limit in dollars, None for none."""

    spent_usd: float
    limit_usd: float | None


@dataclass(frozen=True)
class Standing:
    """One run at one moment."""

    row: RowMapping
    at: float
    """Seconds since the epoch, by the clock that all workers share."""
    stages: dict[str, dict[str, int]]
    """Jobs by stage and state."""
    waiting_until: dict[str, float]
    """When the earliest waiting job of a stage may be asked."""
    errors: dict[str, int]
    """Last errors of failed jobs, the most frequent."""
    unscored: dict[str, int]
    calls: dict[str, int]
    """Calls by state."""
    answers_per_second: float | None
    """As the newest calls tell; None where there are none, as with a judge that is no LLM."""
    purses: dict[str, Purse]
    """The night's and the month's budgets, by name."""
    workers: int
    """Workers that beat lately."""


def read(tx: Connection, run_id: str, *, month: str = "", month_usd: float | None = None) -> Standing | None:
    """How a run stands, or None where there is no such run. `month`: whose budget is shown, such as `2026-11`."""
    row = runs.get(tx, run_id)
    if row is None:
        return None
    at, stages = now(tx), jobs.counts(tx, run_id)
    due = {stage: jobs.next_due(tx, run_id, stage) for stage, states in stages.items() if states.get("waiting")}
    return Standing(
        row=row,
        at=at,
        stages=stages,
        waiting_until={stage: until for stage, until in due.items() if until is not None},
        errors=_errors(tx, run_id) if any(states.get("failed") for states in stages.values()) else {},
        unscored=judgements.unscored(tx, run_id),
        calls=_calls(tx, run_id),
        answers_per_second=_answers_per_second(tx, run_id, at),
        purses=_purses(tx, row["night"], month, month_usd),
        workers=lively(tx),
    )


def lively(tx: Connection) -> int:
    """Workers that beat lately."""
    at = now(tx)
    return sum(at - worker["beat_at"] < SILENT_S for worker in workers.live(tx))


def _errors(tx: Connection, run_id: str) -> dict[str, int]:
    mine = sa.and_(jobs_.c.run_id == run_id, jobs_.c.state == "failed")
    statement = sa.select(jobs_.c.last_error, sa.func.count().label("n")).where(mine).group_by(jobs_.c.last_error)
    return dict(tx.execute(statement.order_by(sa.desc("n")).limit(ERRORS)).all())


def _calls(tx: Connection, run_id: str) -> dict[str, int]:
    statement = sa.select(calls.c.state, sa.func.count()).where(calls.c.run_id == run_id).group_by(calls.c.state)
    return dict(tx.execute(statement).all())


def _answers_per_second(tx: Connection, run_id: str, at: float) -> float | None:
    """From calls made one by one: those of a batch begin together and say nothing of its pace."""
    columns = (calls.c.run_id, calls.c.state, calls.c.batch_key, calls.c.started_at)
    newest = sa.select(*columns).order_by(calls.c.call_id.desc()).limit(NEWEST).subquery()
    mine = sa.and_(newest.c.run_id == run_id, newest.c.batch_key == "", newest.c.started_at > at - RECENT_S)
    answered = mine & newest.c.state.not_in((OPEN, ERROR, LOST))
    n, first = tx.execute(sa.select(sa.func.count(), sa.func.min(newest.c.started_at)).where(answered)).one()
    return n / max(at - first, 1.0) if n else None


def _purses(tx: Connection, night: str, month: str, month_usd: float | None) -> dict[str, Purse]:
    purses = {}
    if night:
        limit = tx.execute(sa.select(nights.c.usd).where(nights.c.date == night)).scalar()
        purses[f"night {night}"] = Purse(budgets.spent(tx, f"night {night}"), limit)
    if month:
        purses[f"month {month}"] = Purse(budgets.spent(tx, f"month {month}"), month_usd)
    return purses
