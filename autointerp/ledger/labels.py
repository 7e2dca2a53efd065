"""Rows of `label_items` and `labels`: the sample of a run that people grade, and what each of them said."""

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
"""Arms that people are shown. Second explanations of a unit are left out: the headline does not rest on them."""


class Key(NamedTuple):
    """What makes a judged item one: an exemplar, why it was judged, and under whose explanation."""

    exemplar_id: str
    arm: str
    explanation_unit_id: str


@dataclass(frozen=True)
class Sampled:
    """One item of the sample. `probability` is that of being in it, given the run's judged items."""

    number: int
    exemplar_id: str
    unit_id: str
    arm: str
    explanation_unit_id: str
    stratum: str
    probability: float

    @property
    def key(self) -> Key:
        return Key(self.exemplar_id, self.arm, self.explanation_unit_id)


class Label(NamedTuple):
    """What a rater said of an item, and when. A score of None: passed over."""

    score: int | None
    at: float


def judged(connection: Connection, run_id: str) -> dict[Key, tuple[str, int]]:
    """Unit and grade of everything the spec's judge has scored in the first repeat: what a sample is drawn from."""
    columns = (judgements.c[name] for name in (*Key._fields, "unit_id", "score"))
    mine = sa.and_(judgements.c.run_id == run_id, judgements.c.repeat == 0, judgements.c.judge == "")
    scored = sa.and_(mine, judgements.c.outcome == Outcome.SCORED.value, judgements.c.arm.in_(ARMS))
    return {Key(*row[:3]): (row[3], row[4]) for row in connection.execute(sa.select(*columns).where(scored))}


def items(connection: Connection, run_id: str) -> list[Sampled]:
    """A run's sample in the order of its numbers; empty where none was drawn."""
    columns = [label_items.c[name] for name in Sampled.__dataclass_fields__]
    statement = sa.select(*columns).where(label_items.c.run_id == run_id).order_by(label_items.c.number)
    return [Sampled(**row) for row in connection.execute(statement).mappings()]


def put_items(connection: Connection, run_id: str, sample: Sequence[Sampled]) -> None:
    """Write a sample. Numbers that are there keep their item, and take the stratum and probability of the enlarged design."""
    insert_new(connection, label_items, [{"run_id": run_id, **asdict(item)} for item in sample])
    mine = sa.and_(label_items.c.run_id == run_id, label_items.c.number == sa.bindparam("at_number"))
    design: dict[str, Any] = {"stratum": sa.bindparam("of_stratum"), "probability": sa.bindparam("with_probability")}
    rows = [{"at_number": s.number, "of_stratum": s.stratum, "with_probability": s.probability} for s in sample]
    if rows:
        connection.execute(sa.update(label_items).where(mine).values(**design), rows)


def add(connection: Connection, run_id: str, number: int, rater: str, score: int | None) -> None:
    """Write down a rater's grade of an item, or that it was passed over, in place of whatever they said before."""
    said: dict[str, Any] = {"score": score, "at": now(connection)}
    insert_new(connection, labels, [{"run_id": run_id, "number": number, "rater": rater, **said}])
    connection.execute(sa.update(labels).where(_one(run_id, number, rater)).values(**said))


def undo(connection: Connection, run_id: str, number: int, rater: str) -> None:
    """Take back what a rater said of an item. Nothing happens where they said nothing, so that it may be asked twice."""
    connection.execute(sa.delete(labels).where(_one(run_id, number, rater)))


def of_rater(connection: Connection, run_id: str, rater: str) -> dict[int, Label]:
    """What one rater said, by number, the earliest first."""
    mine = sa.and_(labels.c.run_id == run_id, labels.c.rater == rater)
    statement = sa.select(labels.c.number, labels.c.score, labels.c.at).where(mine).order_by(labels.c.at)
    return {row.number: Label(row.score, row.at) for row in connection.execute(statement)}


def of_run(connection: Connection, run_id: str) -> list[dict[str, Any]]:
    """All labels of a run with their items' design, by number and rater.

    `number`, `exemplar_id`, `unit_id`, `arm`, `explanation_unit_id`, `stratum`, `probability`, `rater`, `score`; a score of None was
    passed over. Items that nobody has reached are not among them.
    """
    design = [label_items.c[name] for name in Sampled.__dataclass_fields__]
    same = sa.and_(labels.c.run_id == label_items.c.run_id, labels.c.number == label_items.c.number)
    statement = sa.select(*design, labels.c.rater, labels.c.score).join(labels, same)
    ordered = statement.where(labels.c.run_id == run_id).order_by(labels.c.number, labels.c.rater)
    return [dict(row) for row in connection.execute(ordered).mappings()]


def _one(run_id: str, number: int, rater: str) -> sa.ColumnElement[bool]:
    return sa.and_(labels.c.run_id == run_id, labels.c.number == number, labels.c.rater == rater)
