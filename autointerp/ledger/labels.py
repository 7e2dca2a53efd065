"""Rows of `label_items` and `labels`: the sample of a run that people grade, and their grades."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from autointerp.ledger.database import insert_new, now
from autointerp.ledger.schema import judgements, label_items, labels
from autointerp.records import Arm, Outcome

ARMS = (Arm.MAIN, Arm.SHUFFLED, Arm.BASE_RATE)
"""Arms that people grade. Second explanations of a unit are left out: the headline does not use them."""


class ItemKey(NamedTuple):
    """Identity of a judged item: the exemplar, its arm, and the unit whose explanation was shown."""

    exemplar_id: str
    arm: str
    explanation_unit_id: str


@dataclass(frozen=True)
class LabelItem:
    """One item of the sample. `probability` is its inclusion probability given the run's judged items."""

    number: int
    exemplar_id: str
    unit_id: str
    arm: str
    explanation_unit_id: str
    stratum: str
    probability: float

    @property
    def key(self) -> ItemKey:
        return ItemKey(self.exemplar_id, self.arm, self.explanation_unit_id)


class Label(NamedTuple):
    """A rater's grade of an item, and when it was given. A score of None means skipped."""

    score: int | None
    at: float


def judged(connection: Connection, run_id: str) -> dict[ItemKey, tuple[str, int]]:
    """Unit and grade of each item that the spec's judge scored in the first repeat: the population of the sample."""
    columns = (judgements.c[name] for name in (*ItemKey._fields, "unit_id", "score"))
    mine = sa.and_(judgements.c.run_id == run_id, judgements.c.repeat == 0, judgements.c.judge == "")
    scored = sa.and_(mine, judgements.c.outcome == Outcome.SCORED.value, judgements.c.arm.in_(ARMS))
    return {ItemKey(*row[:3]): (row[3], row[4]) for row in connection.execute(sa.select(*columns).where(scored))}


def items(connection: Connection, run_id: str) -> list[LabelItem]:
    """A run's sample in order of number; empty if none was drawn."""
    columns = [label_items.c[name] for name in LabelItem.__dataclass_fields__]
    statement = sa.select(*columns).where(label_items.c.run_id == run_id).order_by(label_items.c.number)
    return [LabelItem(**row) for row in connection.execute(statement).mappings()]


def put_items(connection: Connection, run_id: str, sample: Sequence[LabelItem]) -> None:
    """Store a sample. Existing numbers keep their item and get the stratum and probability of the enlarged design."""
    insert_new(connection, label_items, [{"run_id": run_id, **asdict(item)} for item in sample])
    mine = sa.and_(label_items.c.run_id == run_id, label_items.c.number == sa.bindparam("at_number"))
    design: dict[str, Any] = {"stratum": sa.bindparam("of_stratum"), "probability": sa.bindparam("with_probability")}
    rows = [{"at_number": s.number, "of_stratum": s.stratum, "with_probability": s.probability} for s in sample]
    if rows:
        connection.execute(sa.update(label_items).where(mine).values(**design), rows)


def add(connection: Connection, run_id: str, number: int, rater: str, score: int | None) -> None:
    """Store a rater's grade of an item, None for skipped, replacing an earlier one."""
    values: dict[str, Any] = {"score": score, "at": now(connection)}
    insert_new(connection, labels, [{"run_id": run_id, "number": number, "rater": rater, **values}])
    connection.execute(sa.update(labels).where(_one(run_id, number, rater)).values(**values))


def undo(connection: Connection, run_id: str, number: int, rater: str) -> None:
    """Delete a rater's grade of an item. Does nothing if there is none, so it may be repeated."""
    connection.execute(sa.delete(labels).where(_one(run_id, number, rater)))


def of_rater(connection: Connection, run_id: str, rater: str) -> dict[int, Label]:
    """One rater's labels by item number, earliest first."""
    mine = sa.and_(labels.c.run_id == run_id, labels.c.rater == rater)
    statement = sa.select(labels.c.number, labels.c.score, labels.c.at).where(mine).order_by(labels.c.at)
    return {row.number: Label(row.score, row.at) for row in connection.execute(statement)}


def of_run(connection: Connection, run_id: str) -> list[dict[str, Any]]:
    """All labels of a run with their items' design, by number and rater.

    Keys: `number`, `exemplar_id`, `unit_id`, `arm`, `explanation_unit_id`, `stratum`, `probability`, `rater`, `score`. A
    score of None means skipped. Items that nobody has labelled are not included.
    """
    design = [label_items.c[name] for name in LabelItem.__dataclass_fields__]
    same = sa.and_(labels.c.run_id == label_items.c.run_id, labels.c.number == label_items.c.number)
    statement = sa.select(*design, labels.c.rater, labels.c.score).join(labels, same)
    ordered = statement.where(labels.c.run_id == run_id).order_by(labels.c.number, labels.c.rater)
    return [dict(row) for row in connection.execute(ordered).mappings()]


def _one(run_id: str, number: int, rater: str) -> sa.ColumnElement[bool]:
    return sa.and_(labels.c.run_id == run_id, labels.c.number == number, labels.c.rater == rater)
