"""Every result and every call of one run as plain rows, for pages that list them. Prompts and replies are read call by call: they are long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, RowMapping

from autointerp.ledger.schema import answers, calls, explanations, jobs, judgements, texts

JUDGED = (
    "job_key", "unit_id", "exemplar_id", "arm", "repeat", "judge", "outcome", "score", "expected", "reason", "call_key", "asked_in",
    "explanation_unit_id",
)  # fmt: skip
"""The columns of `judged`."""
ANSWERED = ("job_key", "scorer", "unit_id", "step", "number", "outcome", "answer", "reason", "call_key")
"""The columns of `answered`."""
EXPLAINED = ("unit_id", "outcome", "text", "reason", "call_key")
"""The columns of `explained`."""
_OF_CALL = (
    "call_id", "call_key", "run_id", "job_key", "judge", "state", "reason", "input_tokens", "output_tokens", "cache_write_tokens",
    "cache_read_tokens", "cost_usd", "started_at", "duration_s",
)  # fmt: skip
_OF_JOB = ("stage", "scorer", "unit_id", "arm", "exemplar_id", "repeat")
CALLED = (*_OF_CALL, *_OF_JOB)
"""The columns of `called`. Those of the job are null if the job was replaced, as that of a group whose items were asked alone."""
TOKENS = ("input_tokens", "output_tokens", "cache_write_tokens", "cache_read_tokens")


def judged(tx: Connection, run_id: str) -> Sequence[sa.Row[Any]]:
    """The run's judgements."""
    columns = [judgements.c[name] for name in JUDGED]
    return tx.execute(sa.select(*columns).where(judgements.c.run_id == run_id)).all()


def answered(tx: Connection, run_id: str) -> Sequence[sa.Row[Any]]:
    """The run's answers to the questions of other evaluations, as JSON."""
    return tx.execute(sa.select(*[answers.c[name] for name in ANSWERED]).where(answers.c.run_id == run_id)).all()


def explained(tx: Connection, run_id: str) -> Sequence[sa.Row[Any]]:
    """The run's explanations. `unit_id` is the explanation's key."""
    columns = [explanations.c[name] for name in EXPLAINED]
    return tx.execute(sa.select(*columns).where(explanations.c.run_id == run_id)).all()


def called(tx: Connection, run_id: str) -> Sequence[sa.Row[Any]]:
    """The run's calls, the first one first, each with its job."""
    return tx.execute(_called().where(calls.c.run_id == run_id).order_by(calls.c.call_id)).all()


def reused(tx: Connection, run_id: str) -> Sequence[sa.Row[Any]]:
    """The scored calls of other runs that answered questions of this one."""
    keys = sa.union_all(
        *[sa.select(table.c.call_key).where(table.c.run_id == run_id) for table in (judgements, answers, explanations)]
    )
    theirs = sa.and_(calls.c.run_id != run_id, calls.c.state == "scored", calls.c.call_key.in_(keys))
    return tx.execute(_called().where(theirs).order_by(calls.c.call_id)).all()


def counts(tx: Connection, run_id: str) -> tuple[int, ...]:
    """Numbers that change whenever a result or a call is added to the run, or a result withdrawn."""
    tables = (judgements, answers, explanations, calls)
    return tuple(
        int(tx.execute(sa.select(sa.func.count()).select_from(table).where(table.c.run_id == run_id)).scalar_one())
        for table in tables
    )


def call_texts(tx: Connection, call_ids: Sequence[int]) -> list[RowMapping]:
    """Calls by their ids, in order, with everything that is stored of them: `system`, `user`, `reply` and the columns of `calls`."""
    statement = sa.select(calls, texts.c.text.label("system")).join(texts, texts.c.text_hash == calls.c.system_hash)
    return list(tx.execute(statement.where(calls.c.call_id.in_(call_ids)).order_by(calls.c.call_id)).mappings())


def with_words(tx: Connection, which: Sequence[int], words: Sequence[str]) -> list[tuple[int, ...]]:
    """(id, and for each word 1 if the prompt or the reply has it) of the calls that have any of the words, upper and lower case alike.

    `which` are ids in ascending order; other calls between them may be among the result.
    """
    dense = which[-1] - which[0] < 4 * len(which)
    mine = calls.c.call_id.between(which[0], which[-1]) if dense else calls.c.call_id.in_(which)
    has = [sa.or_(_contains(tx, calls.c.user, word), _contains(tx, calls.c.reply, word)) for word in words]
    flags = [sa.case((each, 1), else_=0) for each in has]
    return [tuple(row) for row in tx.execute(sa.select(calls.c.call_id, *flags).where(mine, sa.or_(*has)))]


def usage(tx: Connection, run_id: str) -> list[RowMapping]:
    """The run's calls, dollars and tokens by the stage and the evaluation that asked."""
    sums = [sa.func.coalesce(sa.func.sum(calls.c[name]), 0).label(name) for name in (*TOKENS, "cost_usd")]
    by = (jobs.c.stage, jobs.c.scorer)
    statement = (
        sa.select(*by, sa.func.count().label("calls"), *sums)
        .select_from(calls.outerjoin(jobs, _is_its_job()))
        .where(calls.c.run_id == run_id)
        .group_by(*by)
    )
    return list(tx.execute(statement).mappings())


def _called() -> sa.Select[Any]:
    columns = [*(calls.c[name] for name in _OF_CALL), *(jobs.c[name] for name in _OF_JOB)]
    return sa.select(*columns).select_from(calls.outerjoin(jobs, _is_its_job()))


def _is_its_job() -> ColumnElement[bool]:
    return sa.and_(jobs.c.run_id == calls.c.run_id, jobs.c.job_key == calls.c.job_key)


def _contains(tx: Connection, column: ColumnElement[str], word: str) -> ColumnElement[bool]:
    escaped = word.replace("/", "//").replace("%", "/%").replace("_", "/_")
    # SQLite's LIKE takes upper and lower case alike, without a copy of each text.
    like = column.like if tx.dialect.name == "sqlite" else column.ilike
    return like(f"%{escaped}%", escape="/")
