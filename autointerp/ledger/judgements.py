"""Rows of `explanations`, `judgements` and `answers`: what judges replied, or why no reply is usable."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from autointerp.ledger import calls
from autointerp.ledger.database import insert_new
from autointerp.ledger.jobs import Job, decode_items
from autointerp.ledger.schema import answers, explanations, jobs, judgements
from autointerp.records import AID_SEPARATOR, Explanation, ExplanationKey, Judgement, Outcome, ScorerAnswer


def add_explanation(connection: Connection, run_id: str, explanation: Explanation) -> None:
    """Store an explanation under its key, unless there is one."""
    row = {
        "run_id": run_id,
        "unit_id": explanation.key.text,
        "outcome": explanation.outcome,
        "text": explanation.text,
        "reason": explanation.reason,
        "call_key": explanation.call_key,
    }
    insert_new(connection, explanations, [row])


def add_judgement(
    connection: Connection, run_id: str, job_key: str, explained_by: ExplanationKey, judgement: Judgement
) -> None:
    """Store a judgement under its job's key, unless there is one."""
    row = {"run_id": run_id, "job_key": job_key, "explanation_unit_id": explained_by.text, **asdict(judgement)}
    insert_new(connection, judgements, [row])


def add_answers(connection: Connection, run_id: str, rows: Sequence[tuple[str, ScorerAnswer]]) -> None:
    """Store answers to scorers' questions, given as (job key, answer), unless the job has one."""
    encoded = [{"run_id": run_id, "job_key": key, **asdict(row), "answer": json.dumps(row.answer)} for key, row in rows]
    insert_new(connection, answers, encoded)


def answers_of(connection: Connection, run_id: str, unit_id: str | None = None) -> list[ScorerAnswer]:
    """Answers to scorers' questions, of one unit if given, ordered by scorer, unit, step and number."""
    columns = [answers.c[name] for name in ScorerAnswer.__dataclass_fields__]
    order = (answers.c.scorer, answers.c.unit_id, answers.c.step, answers.c.number)
    mine = answers.c.run_id == run_id
    mine = mine if unit_id is None else sa.and_(mine, answers.c.unit_id == unit_id)
    rows = connection.execute(sa.select(*columns).where(mine).order_by(*order)).mappings()
    return [
        ScorerAnswer(**{**row, "outcome": Outcome(row["outcome"]), "answer": json.loads(row["answer"])}) for row in rows
    ]


def record_gave_up(connection: Connection, run_id: str, job: Job, reason: str) -> None:
    """Record a question as unscored because it was given up, with the reason. `autointerp retry` asks it again."""
    if job.stage == "explain":
        add_explanation(connection, run_id, Explanation(job.explanation_key, Outcome.GAVE_UP, "", reason, None))
    elif job.scorer:
        lost = ScorerAnswer(job.scorer, job.unit_id, job.step, job.repeat, Outcome.GAVE_UP, None, reason, None)
        add_answers(connection, run_id, [(job.job_key, lost)])
    elif job.stage in ("score", "regrade"):
        for item in job.question_items:
            judgement = Judgement(
                item.exemplar_id,
                item.unit_id,
                item.arm,
                item.repeat,
                Outcome.GAVE_UP,
                None,
                reason,
                None,
                judge=job.judge,
                asked_in=job.job_key if job.items else "",
            )
            add_judgement(connection, run_id, item.key, item.explained_by, judgement)


def error_kind(message: str) -> str:
    """An error's message without numbers and names that differ between occurrences."""
    return re.sub(r"\b\w*\d\w*\b", "#", message)


def failed(connection: Connection, run_id: str, kind: str | None = None) -> list[str]:
    """Keys of jobs that ended because the provider or a worker failed; with `kind`, only those with that `error_kind`."""
    rows = _ended(connection, run_id, lambda of: of.c.outcome.in_((Outcome.PROVIDER_ERROR, Outcome.GAVE_UP)))
    return list(dict.fromkeys(job_key for job_key, reason in rows if kind is None or error_kind(reason) == kind))


def resting_on(connection: Connection, run_id: str, call_keys: Sequence[str]) -> list[str]:
    """Keys of jobs whose results are answers of these calls, their own or those of another job with the same question."""
    rows = _ended(connection, run_id, lambda of: of.c.call_key.in_(call_keys))
    return list(dict.fromkeys(job_key for job_key, _ in rows))


def _ended(
    connection: Connection, run_id: str, which: Callable[[sa.Table], sa.ColumnElement[bool]]
) -> list[tuple[str, str]]:
    """Job key and reason of each result of a run that a condition on its table names."""
    asker = sa.func.coalesce(sa.func.nullif(judgements.c.asked_in, ""), judgements.c.job_key)
    judged = sa.select(asker, judgements.c.reason).where(judgements.c.run_id == run_id, which(judgements))
    answered = sa.select(answers.c.job_key, answers.c.reason).where(answers.c.run_id == run_id, which(answers))
    key = sa.case((jobs.c.arm == "", jobs.c.unit_id), else_=jobs.c.unit_id + AID_SEPARATOR + jobs.c.arm)
    explained = (
        sa.select(jobs.c.job_key, explanations.c.reason)
        .join(explanations, sa.and_(explanations.c.run_id == jobs.c.run_id, explanations.c.unit_id == key))
        .where(jobs.c.run_id == run_id, jobs.c.stage == "explain", which(explanations))
    )
    return [(job_key, reason) for job_key, reason in connection.execute(judged.union_all(answered, explained))]


def withdraw(connection: Connection, run_id: str, job_keys: Sequence[str]) -> None:
    """Make jobs pending again and delete their results, because the failure was not caused by the questions.

    Questions that show an explanation among these results are deleted with their own results, and planned again later.
    """
    for start in range(0, len(job_keys), 1000):
        _withdraw(connection, run_id, job_keys[start : start + 1000])


def _withdraw(connection: Connection, run_id: str, job_keys: Sequence[str]) -> None:
    of_run = jobs.c.run_id == run_id
    named = sa.and_(of_run, jobs.c.job_key.in_(job_keys))
    explains = sa.select(jobs.c.unit_id, jobs.c.arm).where(named, jobs.c.stage == "explain")
    explained = [ExplanationKey(*row).text for row in connection.execute(explains)]
    dependent = sa.and_(of_run, jobs.c.job_key.in_(_questions_showing(connection, run_id, explained)))
    mine = sa.select(jobs.c.job_key).where(sa.or_(named, dependent))
    # A result is stored before this, and deleted below, or finds no job any more.
    connection.execute(mine.with_for_update())
    asked = sa.or_(judgements.c.job_key.in_(mine), judgements.c.asked_in.in_(mine))
    connection.execute(sa.delete(judgements).where(judgements.c.run_id == run_id, asked))
    connection.execute(sa.delete(answers).where(answers.c.run_id == run_id, answers.c.job_key.in_(mine)))
    calls.reopen_failed(connection, run_id, mine)
    connection.execute(
        sa.delete(explanations).where(explanations.c.run_id == run_id, explanations.c.unit_id.in_(explained))
    )
    connection.execute(sa.update(jobs).where(named).values(state="pending", attempts=0, lease_owner=""))
    if explained:
        connection.execute(sa.delete(jobs).where(dependent))


def _questions_showing(connection: Connection, run_id: str, explained: Sequence[str]) -> list[str]:
    """Keys of the questions that show one of the explanations, given by their key texts."""
    if not explained:
        return []
    asking = sa.and_(jobs.c.run_id == run_id, jobs.c.stage.in_(("score", "probe", "regrade")))
    alone = sa.select(jobs.c.job_key).where(asking, jobs.c.explanation_unit_id.in_(explained))
    several = connection.execute(sa.select(jobs.c.job_key, jobs.c["items"]).where(asking, jobs.c["items"] != ""))
    keys = set(explained)
    grouped = [key for key, items in several if keys & {item.explained_by.text for item in decode_items(items)}]
    return [*connection.execute(alone).scalars(), *grouped]


def explanations_of(connection: Connection, run_id: str) -> dict[ExplanationKey, Explanation]:
    """A run's explanations by key."""
    table = explanations.c
    columns = (table.unit_id, table.outcome, table.text, table.reason, table.call_key)
    rows = connection.execute(sa.select(*columns).where(table.run_id == run_id))
    explained = [Explanation(ExplanationKey.parse(key), Outcome(outcome), *rest) for key, outcome, *rest in rows]
    return {explanation.key: explanation for explanation in explained}


def judgement_rows(connection: Connection, run_id: str) -> list[dict[str, object]]:
    """A run's judgements as plain rows, ordered by unit, arm, exemplar and repeat."""
    order = (judgements.c.unit_id, judgements.c.arm, judgements.c.exemplar_id, judgements.c.repeat)
    statement = sa.select(judgements).where(judgements.c.run_id == run_id).order_by(*order)
    return [dict(row) for row in connection.execute(statement).mappings()]


def judgements_of(connection: Connection, run_id: str, keys: Sequence[str]) -> dict[str, RowMapping]:
    """Those of a run's judgements that are stored under some keys, by key."""
    found: dict[str, RowMapping] = {}
    for start in range(0, len(keys), 500):
        mine = sa.and_(judgements.c.run_id == run_id, judgements.c.job_key.in_(keys[start : start + 500]))
        found |= {row["job_key"]: row for row in connection.execute(sa.select(judgements).where(mine)).mappings()}
    return found


def answered_jobs(connection: Connection, run_id: str) -> set[str]:
    """Keys of the jobs that have a judgement or answer, scored or not."""
    asker = sa.func.coalesce(sa.func.nullif(judgements.c.asked_in, ""), judgements.c.job_key)
    judged = sa.select(asker).where(judgements.c.run_id == run_id)
    return set(
        connection.execute(judged.union(sa.select(answers.c.job_key).where(answers.c.run_id == run_id))).scalars()
    )


def unscored(connection: Connection, run_id: str) -> dict[str, int]:
    """Numbers of a run's unscored judgements by outcome."""
    # The literal lets SQLite use the partial index `ix_judgements_unscored`.
    mine = sa.and_(judgements.c.run_id == run_id, judgements.c.outcome != sa.literal_column(f"'{Outcome.SCORED}'"))
    statement = sa.select(judgements.c.outcome, sa.func.count()).where(mine).group_by(judgements.c.outcome)
    return dict(connection.execute(statement).all())
