"""Rows of `nights`, `dictionaries` and `anchors`: what each night found, began, left and asked again.

A row of `dictionaries` is one state of the files at one place, so that what did not change is never loaded again. Its state:

    waiting   new; not begun, or stopped before its end        copy      the weights are those of another row
    queued    its run was begun by `night`                     corrupt   it cannot be loaded
    scored    its run has a report                             failed    its run cannot be carried
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from autointerp.ledger.database import insert_new
from autointerp.ledger.schema import anchors, dictionaries, nights

RUNNING, DONE = "running", "done"
WAITING, QUEUED, SCORED, FAILED, COPY, CORRUPT = "waiting", "queued", "scored", "failed", "copy", "corrupt"


@dataclass(frozen=True)
class Version:
    """One state of the files at one place. `change` is None for a first version."""

    dictionary_key: str
    fingerprint: str
    lineage: str
    path: str
    state: str
    reason: str = ""
    change: float | None = None
    sketch: str = ""
    forecast_usd: float = 0.0
    modified_at: float = 0.0
    first_seen: float = 0.0
    night: str = ""
    run_id: str = ""


@dataclass(frozen=True)
class Anchor:
    """One question that is asked again every night: an explanation and a window of one unit.

    `grade` is the one by which it was chosen, its stratum; answers count only from when it is asked as an anchor.
    """

    number: int
    unit_id: str
    grade: int
    explanation: str
    tokens: tuple[str, ...]
    mark: int


def begin(connection: Connection, date: str, usd: float | None) -> RowMapping:
    """Open a night, or take up the one that is there; an unfinished one gets today's budget. Returns its row."""
    insert_new(connection, nights, [{"date": date, "state": RUNNING, "usd": usd, "started_at": time.time()}])
    open_ = sa.and_(nights.c.date == date, nights.c.state == RUNNING)
    connection.execute(sa.update(nights).where(open_).values(usd=usd))
    row = get(connection, date)
    assert row is not None, date
    return row


def get(connection: Connection, date: str) -> RowMapping | None:
    return connection.execute(sa.select(nights).where(nights.c.date == date)).mappings().first()


def unfinished(connection: Connection) -> list[str]:
    """Dates of nights that were begun and not ended, oldest first."""
    statement = sa.select(nights.c.date).where(nights.c.state == RUNNING).order_by(nights.c.date)
    return list(connection.execute(statement).scalars())


def note(connection: Connection, date: str, lines: Iterable[str]) -> None:
    """Add lines to what a night has to say; a line is said once."""
    row = connection.execute(sa.select(nights.c.note).where(nights.c.date == date).with_for_update()).scalar() or ""
    said = list(dict.fromkeys([*row.splitlines(), *(" ".join(line.split()) for line in lines)]))
    connection.execute(sa.update(nights).where(nights.c.date == date).values(note="\n".join(filter(None, said))))


def end(connection: Connection, date: str) -> None:
    values = {"state": DONE, "ended_at": time.time()}
    connection.execute(sa.update(nights).where(nights.c.date == date).values(**values))


def known(connection: Connection) -> dict[str, Version]:
    """All states of all places by key, oldest first."""
    order = (dictionaries.c.first_seen, dictionaries.c.dictionary_key)
    rows = connection.execute(sa.select(dictionaries).order_by(*order)).mappings()
    return {row["dictionary_key"]: Version(**row) for row in rows}


def of_night(connection: Connection, date: str) -> list[Version]:
    """What a night dealt with, oldest first."""
    mine = sa.select(dictionaries).where(dictionaries.c.night == date).order_by(dictionaries.c.first_seen)
    return [Version(**row) for row in connection.execute(mine).mappings()]


def add(connection: Connection, version: Version) -> Version:
    """Write down a newly seen state of a place; weights that another row holds by now make it that row's copy."""
    insert_new(connection, dictionaries, [asdict(version)])
    found = _get(connection, version.dictionary_key)
    if found is None:
        original = original_of(connection, version.fingerprint)
        assert original is not None, version.dictionary_key
        found = replace(version, state=COPY, reason=original.path)
        insert_new(connection, dictionaries, [asdict(found)])
    return found


def forget_corrupt(connection: Connection, key: str) -> None:
    """Make room for a place that could not be loaded and was tried again."""
    mine = sa.and_(dictionaries.c.dictionary_key == key, dictionaries.c.state == CORRUPT)
    connection.execute(sa.delete(dictionaries).where(mine))


def original_of(connection: Connection, fingerprint: str) -> Version | None:
    """The row that stands for these weights."""
    mine = sa.and_(dictionaries.c.fingerprint == fingerprint, dictionaries.c.state.not_in((COPY, CORRUPT)))
    row = connection.execute(sa.select(dictionaries).where(mine)).mappings().first()
    return Version(**row) if row else None


def move(connection: Connection, version: Version, to: Version) -> Version:
    """A dictionary that still waits lies elsewhere now, or its files were touched."""
    place: dict[str, Any] = {
        "dictionary_key": to.dictionary_key,
        "path": to.path,
        "lineage": to.lineage,
        "modified_at": to.modified_at,
    }
    update(connection, version.dictionary_key, **place)
    return replace(version, **place)


def update(connection: Connection, key: str, **values: Any) -> None:
    connection.execute(sa.update(dictionaries).where(dictionaries.c.dictionary_key == key).values(**values))


def claim(connection: Connection, key: str, date: str, forecast_usd: float) -> bool:
    """Begin a waiting dictionary's run, or go on with what this night began and a kill cut short; False: it is begun."""
    mine = sa.and_(
        dictionaries.c.dictionary_key == key,
        sa.or_(
            dictionaries.c.state == WAITING,
            sa.and_(dictionaries.c.state == QUEUED, dictionaries.c.night == date, dictionaries.c.run_id == ""),
        ),
    )
    values = {"state": QUEUED, "night": date, "forecast_usd": forecast_usd, "reason": "", "run_id": ""}
    return connection.execute(sa.update(dictionaries).where(mine).values(**values)).rowcount == 1


def report_finds(connection: Connection, date: str) -> None:
    """Copies and corrupt dictionaries that no night has named yet are this night's."""
    mine = sa.and_(dictionaries.c.night == "", dictionaries.c.state.in_((COPY, CORRUPT)))
    connection.execute(sa.update(dictionaries).where(mine).values(night=date))


def add_anchors(connection: Connection, anchor_set: str, night: str, chosen: Sequence[Anchor]) -> None:
    """Write down a night's anchors before they are asked; those that are there stay."""
    rows = [
        {
            "anchor_set": anchor_set,
            "number": anchor.number,
            "night": night,
            "unit_id": anchor.unit_id,
            "item": json.dumps([anchor.grade, anchor.explanation, list(anchor.tokens), anchor.mark]),
            "outcome": "",
        }
        for anchor in chosen
    ]
    insert_new(connection, anchors, rows)


def anchors_of(connection: Connection, anchor_set: str) -> list[Anchor]:
    """The set's items as its first night chose them, in order."""
    mine = anchors.c.anchor_set == anchor_set
    first = sa.select(sa.func.min(anchors.c.night)).where(mine).scalar_subquery()
    statement = sa.select(anchors).where(mine, anchors.c.night == first).order_by(anchors.c.number)
    found = []
    for row in connection.execute(statement).mappings():
        grade, explanation, tokens, mark = json.loads(row["item"])
        found.append(Anchor(row["number"], row["unit_id"], grade, explanation, tuple(tokens), mark))
    return found


def answer_anchor(
    connection: Connection,
    anchor_set: str,
    number: int,
    night: str,
    *,
    outcome: str,
    score: int | None,
    call_key: str | None,
) -> None:
    mine = sa.and_(anchors.c.anchor_set == anchor_set, anchors.c.number == number, anchors.c.night == night)
    values = {"outcome": outcome, "score": score, "call_key": call_key}
    connection.execute(sa.update(anchors).where(mine).values(**values))


def anchor_scores(connection: Connection, anchor_set: str) -> list[tuple[str, int, str, int]]:
    """(night, number, unit, grade) of every anchor of a set that was graded, in order."""
    columns = (anchors.c.night, anchors.c.number, anchors.c.unit_id, anchors.c.score)
    mine = sa.and_(anchors.c.anchor_set == anchor_set, anchors.c.score.is_not(None))
    return [tuple(row) for row in connection.execute(sa.select(*columns).where(mine).order_by(*columns[:2]))]


def _get(connection: Connection, key: str) -> Version | None:
    row = connection.execute(sa.select(dictionaries).where(dictionaries.c.dictionary_key == key)).mappings().first()
    return Version(**row) if row else None
