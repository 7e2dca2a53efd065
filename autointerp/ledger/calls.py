"""Rows of `calls`: every attempt at a judge, with what it said, what it cost and how it ended."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from autointerp.judges.base import Prompt, Reply, Usage
from autointerp.ledger import runs
from autointerp.ledger.schema import calls, jobs, texts
from autointerp.ledger.schema import runs as run_table
from autointerp.ledger.store import insert_new

OPEN, SCORED, ERROR, LOST = "open", "scored", "error", "lost"


def begin(
    connection: Connection, *, run_id: str, job_key: str, call_key: str, judge: str, prompt: Prompt, reserved_usd: float
) -> int:
    """Write down a call before it is made, so that a kill leaves a trace of what may have been billed."""
    system_hash = hashlib.sha256(prompt.system.encode()).hexdigest()
    insert_new(connection, texts, [{"text_hash": system_hash, "text": prompt.system}])
    row = {
        "call_key": call_key,
        "run_id": run_id,
        "job_key": job_key,
        "judge": judge,
        "state": OPEN,
        "system_hash": system_hash,
        "user": prompt.user,
        "reserved_usd": reserved_usd,
        "started_at": time.time(),
    }
    return int(connection.execute(sa.insert(calls).values(**row).returning(calls.c.call_id)).scalar_one())


def end(
    connection: Connection,
    call_id: int,
    *,
    run_id: str,
    state: str,
    reason: str,
    reply: Reply | None,
    usage: Usage,
    cost_usd: float | None,
    reserved_usd: float,
    duration_s: float,
) -> None:
    """Close a call with its outcome and settle its reservation, all of which counts as spent where the cost is unknown."""
    values = {
        "state": state,
        "reason": reason,
        "reply": reply.text if reply else "",
        "served_model": reply.served_model if reply else "",
        "request_id": (reply.request_id or "") if reply else "",
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cost_usd": cost_usd,
        "duration_s": duration_s,
    }
    connection.execute(sa.update(calls).where(calls.c.call_id == call_id).values(**values))
    runs.settle(connection, run_id, reserved_usd, cost_usd)


def answered(connection: Connection, run_id: str, call_key: str) -> RowMapping | None:
    """A settled call with this key: a good answer of any run, or whatever this run was already told.

    Refusals, truncations and unreadable replies of other runs are not reused.
    """
    mine = sa.and_(calls.c.run_id == run_id, calls.c.state.not_in((OPEN, ERROR, LOST)))
    statement = (
        sa.select(calls)
        .where(calls.c.call_key == call_key, sa.or_(calls.c.state == SCORED, mine))
        .order_by(calls.c.state != SCORED, calls.c.call_id)
        .limit(1)
    )
    return connection.execute(statement).mappings().first()


def write_off(connection: Connection, run_id: str) -> int:
    """Mark calls that a kill left open as lost; their upper bounds still count against the budget. Returns how many."""
    mine = sa.and_(calls.c.run_id == run_id, calls.c.state == OPEN)
    bound = connection.execute(sa.select(sa.func.coalesce(sa.func.sum(calls.c.reserved_usd), 0.0)).where(mine)).scalar()
    lost = connection.execute(sa.update(calls).where(mine).values(state=LOST, reason="in flight at a kill")).rowcount
    values = {"lost_usd": run_table.c.lost_usd + bound, "reserved_usd": 0.0}
    connection.execute(sa.update(run_table).where(run_table.c.run_id == run_id).values(**values))
    return lost


@dataclass(frozen=True)
class Measured:
    """A question, and the tokens that a provider counted for it: input of all classes, and output."""

    system: str
    user: str
    input_tokens: int
    output_tokens: int


def latest(connection: Connection, judge: str, stage: str, most: int) -> list[Measured]:
    """The newest answered calls to a judge in a stage of any run, where the provider counted their tokens."""
    total = calls.c.input_tokens + calls.c.cache_write_tokens + calls.c.cache_read_tokens
    statement = (
        sa.select(texts.c.text, calls.c.user, total, calls.c.output_tokens)
        .join(texts, texts.c.text_hash == calls.c.system_hash)
        .join(jobs, sa.and_(jobs.c.run_id == calls.c.run_id, jobs.c.job_key == calls.c.job_key))
        .where(calls.c.judge == judge, calls.c.state == SCORED, total > 0, jobs.c.stage == stage)
        .order_by(calls.c.call_id.desc())
        .limit(most)
    )
    return [Measured(*row) for row in connection.execute(statement)]


def totals(connection: Connection, run_id: str) -> dict[str, Any]:
    """Calls, tokens by class, dollars, calls of unknown price, lost calls and served models of a run."""
    billed = sa.and_(calls.c.run_id == run_id, calls.c.state != OPEN)
    classes = ("input_tokens", "output_tokens", "cache_write_tokens", "cache_read_tokens")
    sums = [sa.func.coalesce(sa.func.sum(calls.c[name]), 0).label(name) for name in classes]
    answered_ = sa.func.coalesce(sa.func.sum(sa.case((calls.c.state.not_in((ERROR, LOST)), 1), else_=0)), 0)
    failed = sa.func.coalesce(sa.func.sum(sa.case((calls.c.state == ERROR, 1), else_=0)), 0)
    lost = sa.func.coalesce(sa.func.sum(sa.case((calls.c.state == LOST, 1), else_=0)), 0)
    unknown = sa.and_(calls.c.cost_usd.is_(None), calls.c.state.not_in((ERROR, LOST)))
    unpriced = sa.func.coalesce(sa.func.sum(sa.case((unknown, 1), else_=0)), 0)
    statement = sa.select(
        *sums,
        answered_.label("calls"),
        failed.label("failed_attempts"),
        lost.label("lost_calls"),
        unpriced.label("unpriced_calls"),
        sa.func.coalesce(sa.func.sum(calls.c.cost_usd), 0.0).label("cost_usd"),
    ).where(billed)
    row = dict(connection.execute(statement).mappings().one())
    models = sa.select(calls.c.served_model).where(billed, calls.c.served_model != "").distinct()
    return row | {"served_models": sorted(connection.execute(models).scalars())}
