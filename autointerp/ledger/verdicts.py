"""Rows of `explanations` and `judgements`: what judges said, or why they said nothing usable."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict

import sqlalchemy as sa
from sqlalchemy import Connection

from autointerp.ledger.jobs import Job
from autointerp.ledger.schema import explanations, jobs, judgements
from autointerp.ledger.store import insert_new
from autointerp.records import Arm, Explanation, Judgement, Outcome


def add_explanation(connection: Connection, run_id: str, explanation: Explanation) -> None:
    insert_new(connection, explanations, [{"run_id": run_id, **asdict(explanation)}])


def add_judgement(connection: Connection, run_id: str, job_key: str, explained_by: str, judgement: Judgement) -> None:
    row = {"run_id": run_id, "job_key": job_key, "explanation_unit_id": explained_by, **asdict(judgement)}
    insert_new(connection, judgements, [row])


def give_up(connection: Connection, run_id: str, job: Job, reason: str) -> None:
    """Write down that a question will not be asked any more: unscored, with its reason, until somebody retries it."""
    if job.stage == "explain":
        add_explanation(connection, run_id, Explanation(job.unit_id, Outcome.GAVE_UP, "", reason, None))
    elif job.stage == "score":
        judgement = Judgement(
            job.exemplar_id, job.unit_id, Arm(job.arm), job.repeat, Outcome.GAVE_UP, None, reason, None
        )
        add_judgement(connection, run_id, job.job_key, job.explanation_unit_id, judgement)


def kind_of_error(message: str) -> str:
    """An error's message without the numbers and names that differ from one occurrence to the next."""
    return re.sub(r"\b\w*\d\w*\b", "#", message)


def failed(connection: Connection, run_id: str, kind: str | None = None) -> list[str]:
    """Keys of the jobs that ended because the provider or a worker failed, of one kind of error if given."""
    outcomes = (Outcome.PROVIDER_ERROR, Outcome.GAVE_UP)
    judged = sa.select(judgements.c.job_key, judgements.c.reason).where(
        judgements.c.run_id == run_id, judgements.c.outcome.in_(outcomes)
    )
    explained = (
        sa.select(jobs.c.job_key, explanations.c.reason)
        .join(explanations, sa.and_(explanations.c.run_id == jobs.c.run_id, explanations.c.unit_id == jobs.c.unit_id))
        .where(jobs.c.run_id == run_id, jobs.c.stage == "explain", explanations.c.outcome.in_(outcomes))
    )
    rows = connection.execute(judged.union_all(explained))
    return [job_key for job_key, reason in rows if kind is None or kind_of_error(reason) == kind]


def withdraw(connection: Connection, run_id: str, job_keys: Sequence[str]) -> None:
    """Make jobs pending and forget what came of them: the failure was not theirs.

    Scores that rest on an explanation among them are forgotten with their jobs: scoring is planned anew when it is there.
    """
    for start in range(0, len(job_keys), 1000):
        _withdraw(connection, run_id, job_keys[start : start + 1000])


def _withdraw(connection: Connection, run_id: str, job_keys: Sequence[str]) -> None:
    of_run = jobs.c.run_id == run_id
    named = sa.and_(of_run, jobs.c.job_key.in_(job_keys))
    explained = connection.execute(sa.select(jobs.c.unit_id).where(named, jobs.c.stage == "explain")).scalars().all()
    resting = sa.and_(of_run, jobs.c.stage == "score", jobs.c.explanation_unit_id.in_(explained))
    mine = sa.or_(named, resting)
    judged = sa.and_(judgements.c.run_id == run_id, judgements.c.job_key.in_(sa.select(jobs.c.job_key).where(mine)))
    connection.execute(sa.delete(judgements).where(judged))
    connection.execute(
        sa.delete(explanations).where(explanations.c.run_id == run_id, explanations.c.unit_id.in_(explained))
    )
    connection.execute(sa.update(jobs).where(named).values(state="pending", attempts=0, lease_owner=""))
    if explained:
        connection.execute(sa.delete(jobs).where(resting))


def explanations_of(connection: Connection, run_id: str) -> dict[str, Explanation]:
    """A run's explanations by unit."""
    columns = [explanations.c[name] for name in Explanation.__dataclass_fields__]
    rows = connection.execute(sa.select(*columns).where(explanations.c.run_id == run_id)).mappings()
    return {row["unit_id"]: Explanation(**{**row, "outcome": Outcome(row["outcome"])}) for row in rows}


def judgement_rows(connection: Connection, run_id: str) -> list[dict[str, object]]:
    """A run's judgements as plain rows, in a fixed order."""
    order = (judgements.c.unit_id, judgements.c.arm, judgements.c.exemplar_id, judgements.c.repeat)
    statement = sa.select(judgements).where(judgements.c.run_id == run_id).order_by(*order)
    return [dict(row) for row in connection.execute(statement).mappings()]


def unscored(connection: Connection, run_id: str) -> dict[str, int]:
    """Unscored judgements of a run by reason."""
    # A literal, or SQLite does not see that the index of the unscored will do.
    mine = sa.and_(judgements.c.run_id == run_id, judgements.c.outcome != sa.literal_column(f"'{Outcome.SCORED}'"))
    statement = sa.select(judgements.c.outcome, sa.func.count()).where(mine).group_by(judgements.c.outcome)
    return dict(connection.execute(statement).all())
