"""Rows of `explanations` and `judgements`: what judges said, or why they said nothing usable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import sqlalchemy as sa
from sqlalchemy import Connection

from autointerp.ledger.schema import explanations, jobs, judgements
from autointerp.ledger.store import insert_new
from autointerp.records import Explanation, Judgement, Outcome


def add_explanation(connection: Connection, run_id: str, explanation: Explanation) -> None:
    insert_new(connection, explanations, [{"run_id": run_id, **asdict(explanation)}])


def add_judgement(connection: Connection, run_id: str, job_key: str, explained_by: str, judgement: Judgement) -> None:
    row = {"run_id": run_id, "job_key": job_key, "explanation_unit_id": explained_by, **asdict(judgement)}
    insert_new(connection, judgements, [row])


def withdraw(connection: Connection, run_id: str, job_keys: Sequence[str]) -> None:
    """Make jobs pending and forget what came of them, and of those that needed their explanations: the failure was not theirs."""
    of_run = jobs.c.run_id == run_id
    named = sa.and_(of_run, jobs.c.job_key.in_(job_keys))
    units = sa.select(jobs.c.unit_id).where(named, jobs.c.stage == "explain")
    mine = sa.or_(named, sa.and_(of_run, jobs.c.stage == "score", jobs.c.explanation_unit_id.in_(units)))
    judged = sa.and_(judgements.c.run_id == run_id, judgements.c.job_key.in_(sa.select(jobs.c.job_key).where(mine)))
    connection.execute(sa.delete(judgements).where(judged))
    connection.execute(
        sa.delete(explanations).where(explanations.c.run_id == run_id, explanations.c.unit_id.in_(units))
    )
    connection.execute(sa.update(jobs).where(mine).values(state="pending"))


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
    mine = sa.and_(judgements.c.run_id == run_id, judgements.c.outcome != Outcome.SCORED)
    statement = sa.select(judgements.c.outcome, sa.func.count()).where(mine).group_by(judgements.c.outcome)
    return dict(connection.execute(statement).tuples().all())
