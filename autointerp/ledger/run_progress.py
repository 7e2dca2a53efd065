"""Progress of one run, read in one transaction: job counts, waits, rate and cost.

Every query uses an index, so that a run of a million jobs is read in a fraction of a second.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from autointerp.ledger import budgets, jobs, judgements, runs, workers
from autointerp.ledger.calls import NO_REPLY
from autointerp.ledger.database import now
from autointerp.ledger.schema import calls, nights
from autointerp.ledger.schema import jobs as jobs_

MAX_CALLS, RECENT_S = 4096, 300.0
"""The rate is measured over at most this many newest calls, and over the last five minutes."""
SILENT_S = 60.0
"""A worker without a heartbeat for this long is not counted as live."""
MAX_ERRORS = 5
"""How many different errors are listed."""


@dataclass(frozen=True)
class BudgetUse:
    """Dollars that a budget has spent, reserved or lost, and its limit; None means no limit."""

    spent_usd: float
    limit_usd: float | None


@dataclass(frozen=True)
class RunProgress:
    """The progress of one run at one moment."""

    row: RowMapping
    at: float
    """Seconds since the epoch, by the clock that all workers share."""
    stages: dict[str, dict[str, int]]
    """Jobs by stage and state."""
    waiting_until: dict[str, float]
    """When the earliest waiting job of each stage becomes due."""
    errors: dict[str, int]
    """Numbers of failed jobs by error, most frequent first."""
    unscored: dict[str, int]
    """Unscored judgements by outcome."""
    calls: dict[str, int]
    """Calls by state."""
    answers_per_second: float | None
    """Over the newest calls; None without any, as for a judge that is not an LLM."""
    budgets: dict[str, BudgetUse]
    """The night's and the month's budgets, by name."""
    workers: int
    """Workers with a recent heartbeat."""


def read(tx: Connection, run_id: str, *, month: str = "", month_usd: float | None = None) -> RunProgress | None:
    """A run's progress, or None for an unknown run. `month`, such as `2026-11`, is the one whose budget is included."""
    row = runs.get(tx, run_id)
    if row is None:
        return None
    at, stages = now(tx), jobs.counts(tx, run_id)
    due = {stage: jobs.next_due(tx, run_id, stage) for stage, states in stages.items() if states.get("waiting")}
    return RunProgress(
        row=row,
        at=at,
        stages=stages,
        waiting_until={stage: until for stage, until in due.items() if until is not None},
        errors=_errors(tx, run_id) if any(states.get("failed") for states in stages.values()) else {},
        unscored=judgements.unscored(tx, run_id),
        calls=_calls(tx, run_id),
        answers_per_second=_answers_per_second(tx, run_id, at),
        budgets=_budgets(tx, row["night"], month, month_usd),
        workers=count_live_workers(tx),
    )


def count_live_workers(tx: Connection) -> int:
    """The number of workers with a recent heartbeat."""
    at = now(tx)
    return sum(at - worker["beat_at"] < SILENT_S for worker in workers.live(tx))


def _errors(tx: Connection, run_id: str) -> dict[str, int]:
    mine = sa.and_(jobs_.c.run_id == run_id, jobs_.c.state == "failed")
    statement = sa.select(jobs_.c.last_error, sa.func.count().label("n")).where(mine).group_by(jobs_.c.last_error)
    return dict(tx.execute(statement.order_by(sa.desc("n")).limit(MAX_ERRORS)).all())


def _calls(tx: Connection, run_id: str) -> dict[str, int]:
    statement = sa.select(calls.c.state, sa.func.count()).where(calls.c.run_id == run_id).group_by(calls.c.state)
    return dict(tx.execute(statement).all())


def _answers_per_second(tx: Connection, run_id: str, at: float) -> float | None:
    """The rate over calls made one by one. Calls of a batch all start at once, so they show no rate."""
    columns = (calls.c.run_id, calls.c.state, calls.c.batch_key, calls.c.started_at)
    newest = sa.select(*columns).order_by(calls.c.call_id.desc()).limit(MAX_CALLS).subquery()
    mine = sa.and_(newest.c.run_id == run_id, newest.c.batch_key == "", newest.c.started_at > at - RECENT_S)
    answered = mine & newest.c.state.not_in(NO_REPLY)
    n, first = tx.execute(sa.select(sa.func.count(), sa.func.min(newest.c.started_at)).where(answered)).one()
    return n / max(at - first, 1.0) if n else None


def _budgets(tx: Connection, night: str, month: str, month_usd: float | None) -> dict[str, BudgetUse]:
    used = {}
    if night:
        limit = tx.execute(sa.select(nights.c.usd).where(nights.c.date == night)).scalar()
        used[f"night {night}"] = BudgetUse(budgets.committed(tx, f"night {night}"), limit)
    if month:
        used[f"month {month}"] = BudgetUse(budgets.committed(tx, f"month {month}"), month_usd)
    return used
