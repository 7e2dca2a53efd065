"""Rows of `calls`: every attempt to ask a judge, with its reply, cost and outcome."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, RowMapping

from autointerp.ledger import budgets
from autointerp.ledger.database import Ledger, insert_ignoring_conflicts, insert_new
from autointerp.ledger.schema import calls, jobs, texts, workers
from autointerp.messages import Prompt, Reply, Usage
from autointerp.records import Outcome
from autointerp.redaction import hide_known

OPEN, SCORED, ERROR, LOST = "open", "scored", "error", "lost"
UNSCORED = Outcome.PROVIDER_ERROR.value
"""A failed item of a batch: its error is the answer to its question in this run, until the question is withdrawn."""
NO_REPLY = (OPEN, ERROR, LOST, UNSCORED)
"""States of calls that brought no reply."""
WRITTEN_OFF = "in flight at a kill"
"""The reason of a lost call whose worker ended before the call did."""
_WITHDRAWN = "withdrawn: "
"""How the reason of a reply begins that was withdrawn with all others of its kind."""


@dataclass(frozen=True)
class NewCall:
    """What is recorded of a call before it is made."""

    run_id: str
    job_key: str
    call_key: str
    judge: str
    reserved_usd: float
    worker: str = ""
    month: str = ""
    batch_key: str = ""


def store_text(connection: Connection, text: str) -> str:
    """Store a system prompt once, and return the hash by which calls refer to it."""
    text_hash = hashlib.sha256(text.encode()).hexdigest()
    insert_new(connection, texts, [{"text_hash": text_hash, "text": text}])
    return text_hash


def begin(connection: Connection, call: NewCall, prompt: Prompt, system_hash: str | None = None) -> int | None:
    """Record a call before it is made, so that a kill leaves a trace of what may have been billed. Returns its id.

    Returns None and records nothing if the same question is in flight, in any run, or was answered in the meantime.
    `system_hash` is the result of an earlier `store_text`, if there was one.
    """
    system_hash = system_hash or store_text(connection, prompt.system)
    row = {**vars(call), "state": OPEN, "system_hash": system_hash, "user": prompt.user, "started_at": time.time()}
    call_id = connection.execute(_begin(connection.dialect.name), row).scalar_one_or_none()
    # Checked only now: while this call is open, its unique key keeps every other answer from arriving unseen.
    if call_id is not None and connection.execute(_ANSWERED, _asked(call.run_id, call.call_key)).first():
        connection.execute(sa.delete(calls).where(calls.c.call_id == call_id))
        return None
    return call_id


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
    month: str = "",
) -> None:
    """Close a call with its outcome and settle its reservation; with an unknown cost the whole reservation counts as lost.

    A call that was written off in the meantime, because its worker was declared dead, is settled late.
    """
    values = {
        "state": state,
        "reason": reason,
        "reply": reply.text if reply else "",
        "served_model": reply.served_model if reply else "",
        "request_id": hide_known(reply.request_id or "") if reply else "",
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cost_usd": cost_usd,
        "duration_s": duration_s,
    }
    if connection.execute(_END, values | {"the_call": call_id, "was": OPEN}).rowcount:
        budgets.settle(connection, run_id, reserved_usd, cost_usd, month)
    elif connection.execute(_END, values | {"the_call": call_id, "was": LOST}).rowcount:
        budgets.settle_late(connection, run_id, reserved_usd, cost_usd, month)


def find_answer(connection: Connection, run_id: str, call_key: str) -> RowMapping | None:
    """A settled call with this key: a scored one of any run, or one of this run with any other answer.

    Refusals, truncations and unreadable replies of other runs are not reused.
    """
    return connection.execute(_ANSWERED, _asked(run_id, call_key)).mappings().first()


def _asked(run_id: str, call_key: str) -> dict[str, str]:
    return {"the_run": run_id, "the_key": call_key}


# Built once: every call runs these statements, and building one costs more than running it.
_answered_here = sa.and_(calls.c.run_id == sa.bindparam("the_run"), calls.c.state.not_in((OPEN, ERROR, LOST)))
_ANSWERED = (
    sa.select(calls.c.state, calls.c.reason, calls.c.reply, calls.c.served_model)
    .where(calls.c.call_key == sa.bindparam("the_key"), sa.or_(calls.c.state == SCORED, _answered_here))
    .order_by(calls.c.state != SCORED, calls.c.call_id)
    .limit(1)
)
_ENDED = (
    "state",
    "reason",
    "reply",
    "served_model",
    "request_id",
    "input_tokens",
    "output_tokens",
    "cache_write_tokens",
    "cache_read_tokens",
    "cost_usd",
    "duration_s",
)
_END = (
    sa.update(calls)
    .where(calls.c.call_id == sa.bindparam("the_call"), calls.c.state == sa.bindparam("was"))
    .values({name: sa.bindparam(name) for name in _ENDED})
)


@cache
def _begin(dialect: str) -> Any:
    return insert_ignoring_conflicts(dialect, calls).returning(calls.c.call_id)


def write_off(connection: Connection, run_id: str) -> int:
    """Mark calls of a run that a kill left open as lost. Their upper bounds still count as spent. Returns their number."""
    return len(_write_off(connection, calls.c.run_id == run_id))


def write_off_orphans(connection: Connection, run_id: str) -> int:
    """Mark open calls of a run whose worker is not alive as lost. Returns their number."""
    living = sa.select(workers.c.worker_id).where(workers.c.state == "live")
    return len(_write_off(connection, sa.and_(calls.c.run_id == run_id, calls.c.worker.not_in(living))))


def write_off_worker(connection: Connection, worker: str) -> list[tuple[str, str]]:
    """Mark open calls of a dead worker as lost, in all runs. Returns the run and job of each."""
    return _write_off(connection, calls.c.worker == worker)


def _write_off(connection: Connection, which: ColumnElement[bool]) -> list[tuple[str, str]]:
    """Mark open calls as lost, except those in a provider's batch, which outlive their worker. Returns run and job of each."""
    mine = sa.and_(which, calls.c.state == OPEN, calls.c.batch_key == "")
    columns = (calls.c.run_id, calls.c.job_key, calls.c.reserved_usd, calls.c.month)
    statement = sa.update(calls).where(mine).values(state=LOST, reason=WRITTEN_OFF).returning(*columns)
    lost = connection.execute(statement).all()
    budgets.write_off(connection, [(run_id, month, reserved_usd) for run_id, _, reserved_usd, month in lost])
    return [(run_id, job_key) for run_id, job_key, _, _ in lost]


def refusals_alone(connection: Connection, run_id: str, call_key: str, judge: str) -> int:
    """How often a question was refused in a run in which the judge has answered others since; 0 if it answered none."""
    mine = sa.and_(calls.c.run_id == run_id, calls.c.call_key == call_key, calls.c.state == ERROR)
    n, first = connection.execute(sa.select(sa.func.count(), sa.func.min(calls.c.call_id)).where(mine)).one()
    answered = sa.and_(calls.c.run_id == run_id, calls.c.judge == judge, calls.c.state.not_in(NO_REPLY))
    since = sa.select(calls.c.call_id).where(answered, calls.c.call_id > first).limit(1)
    return int(n) if n and connection.execute(since).first() else 0


def replies_by_state(connection: Connection, run_id: str, stage: str, scorer: str | None) -> Counter[str]:
    """Numbers of a stage's replies and open calls in a run by state, of one scorer if given.

    Failures that billed nothing are no replies.
    """
    statement = sa.select(calls.c.state, sa.func.count()).where(_replied(run_id, stage, scorer)).group_by(calls.c.state)
    return Counter(dict(connection.execute(statement).all()))


def last_unusable(connection: Connection, run_id: str, stage: str, scorer: str | None) -> tuple[str, str]:
    """Reason and text of the newest reply that could not be used; empty if there is none."""
    unusable = sa.and_(_replied(run_id, stage, scorer), calls.c.state.not_in((OPEN, SCORED)))
    statement = sa.select(calls.c.reason, calls.c.reply).where(unusable)
    row = connection.execute(statement.order_by(calls.c.call_id.desc()).limit(1)).first()
    return ("", "") if row is None else (row[0], row[1])


_AS_WITHDRAWN = {
    "state": sa.case((calls.c.state == LOST, LOST), else_=ERROR),
    "reason": sa.literal(_WITHDRAWN) + calls.c.reason,
}


def withdraw(connection: Connection, call_id: int) -> None:
    """Turn an ended call's unusable reply into a failure, so that its question is asked again."""
    connection.execute(sa.update(calls).where(calls.c.call_id == call_id).values(_AS_WITHDRAWN))


def withdraw_unusable(connection: Connection, run_id: str, stage: str, scorer: str | None) -> list[tuple[str, str]]:
    """Turn replies that could not be used into failures, so that their questions are asked again. Returns their jobs' and call keys."""
    unusable = sa.and_(_replied(run_id, stage, scorer), calls.c.state.not_in((OPEN, SCORED)))
    statement = sa.update(calls).where(unusable).values(_AS_WITHDRAWN).returning(calls.c.job_key, calls.c.call_key)
    return sorted({(job_key, call_key) for job_key, call_key in connection.execute(statement)})


def reopen_failed(connection: Connection, run_id: str, job_keys: sa.Select[tuple[str]]) -> None:
    """Turn the failed items of batches into failed attempts, so that the questions of these jobs are asked again."""
    mine = sa.and_(calls.c.run_id == run_id, calls.c.job_key.in_(job_keys), calls.c.state == UNSCORED)
    connection.execute(sa.update(calls).where(mine).values(state=ERROR))


def _replied(run_id: str, stage: str, scorer: str | None) -> ColumnElement[bool]:
    mine = sa.and_(jobs.c.run_id == run_id, jobs.c.stage == stage)
    if scorer is not None:
        mine = sa.and_(mine, jobs.c.scorer == scorer)
    unbilled = sa.and_(calls.c.state.in_((ERROR, UNSCORED)), calls.c.output_tokens == 0)
    void = sa.or_(calls.c.reason == WRITTEN_OFF, calls.c.reason.startswith(_WITHDRAWN))
    no_reply = sa.or_(unbilled, sa.and_(calls.c.state.in_((ERROR, LOST)), void))
    return sa.and_(
        calls.c.run_id == run_id, calls.c.job_key.in_(sa.select(jobs.c.job_key).where(mine)), sa.not_(no_reply)
    )


@dataclass(frozen=True)
class MeasuredCall:
    """A question and the tokens that the provider counted for it. `input_tokens` includes cached ones."""

    system: str
    user: str
    input_tokens: int
    cached_tokens: int
    output_tokens: int


def latest_measured(connection: Connection, judge: str, stage: str, most: int) -> list[MeasuredCall]:
    """The newest scored calls to a judge in a stage, of any run, for which the provider counted tokens."""
    total = calls.c.input_tokens + calls.c.cache_write_tokens + calls.c.cache_read_tokens
    statement = (
        sa.select(texts.c.text, calls.c.user, total, calls.c.cache_read_tokens, calls.c.output_tokens)
        .join(texts, texts.c.text_hash == calls.c.system_hash)
        .join(jobs, sa.and_(jobs.c.run_id == calls.c.run_id, jobs.c.job_key == calls.c.job_key))
        .where(calls.c.judge == judge, calls.c.state == SCORED, total > 0, jobs.c.stage == stage)
        .order_by(calls.c.call_id.desc())
        .limit(most)
    )
    return [MeasuredCall(*row) for row in connection.execute(statement)]


@dataclass(frozen=True)
class ServedCall:
    """An answered call and what the provider said of it. `input_tokens` includes cached ones."""

    judge: str
    served_model: str
    system: str
    user: str
    input_tokens: int


def served(connection: Connection, run_id: str, most: int) -> list[ServedCall]:
    """The newest answered calls of a run for which the provider counted tokens, probes left out."""
    total = calls.c.input_tokens + calls.c.cache_write_tokens + calls.c.cache_read_tokens
    statement = (
        sa.select(calls.c.judge, calls.c.served_model, texts.c.text, calls.c.user, total)
        .join(texts, texts.c.text_hash == calls.c.system_hash)
        .where(calls.c.run_id == run_id, calls.c.state.not_in(NO_REPLY), total > 0)
        .where(calls.c.job_key.not_like("probe-%"))
        .order_by(calls.c.call_id.desc())
        .limit(most)
    )
    return [ServedCall(*row) for row in connection.execute(statement)]


def attempts_of(connection: Connection, run_id: str, job_key: str) -> int:
    """Number of calls that a run has made for a job, answered or not."""
    mine = sa.and_(calls.c.run_id == run_id, calls.c.job_key == job_key)
    return int(connection.execute(sa.select(sa.func.count()).select_from(calls).where(mine)).scalar_one())


def last_minute(ledger: Ledger, judge: str) -> list[tuple[float, int, int]]:
    """Calls to a judge that began in the last 70 s, as (age in seconds, input tokens, output tokens). Batched calls are left out."""
    began = time.time() - 70.0
    used = calls.c.input_tokens + calls.c.cache_write_tokens
    with ledger.read() as tx:
        statement = sa.select(calls.c.started_at, used, calls.c.output_tokens)
        rows = tx.execute(statement.where(calls.c.started_at > began, calls.c.judge == judge, calls.c.batch_key == ""))
        return [(max(0.0, time.time() - started), int(sent), int(received)) for started, sent, received in rows]


def totals(connection: Connection, run_id: str) -> dict[str, Any]:
    """A run's calls, tokens by class, dollars, calls of unknown price, failed and lost calls, and served models."""
    billed = sa.and_(calls.c.run_id == run_id, calls.c.state != OPEN)
    classes = ("input_tokens", "output_tokens", "cache_write_tokens", "cache_read_tokens")
    sums = [sa.func.coalesce(sa.func.sum(calls.c[name]), 0).label(name) for name in classes]
    answered_ = sa.func.coalesce(sa.func.sum(sa.case((calls.c.state.not_in(NO_REPLY), 1), else_=0)), 0)
    failed = sa.func.coalesce(sa.func.sum(sa.case((calls.c.state.in_((ERROR, UNSCORED)), 1), else_=0)), 0)
    lost = sa.func.coalesce(sa.func.sum(sa.case((calls.c.state == LOST, 1), else_=0)), 0)
    unknown = sa.and_(calls.c.cost_usd.is_(None), calls.c.state.not_in(NO_REPLY))
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
