"""Rows of `nights`, `dictionaries` and `anchors`: the dictionaries that nights found and scored, and the judge's anchor questions.

A row of `dictionaries` is one version of the files at one path, so that unchanged files are never loaded again. Its state:

    waiting   new: its run was not started, or was stopped     copy      its weights are those of another row
    queued    its run was started by `night`                   corrupt   it cannot be loaded
    scored    its run has a report                             failed    its run cannot be executed
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
class DictionaryVersion:
    """One version of the files at one path. `change`, the relative change of the decoder, is None for a first version."""

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

    `grade` is the grade by which it was chosen, its stratum. It is not one of the anchor's own answers.
    """

    number: int
    unit_id: str
    grade: int
    explanation: str
    tokens: tuple[str, ...]
    mark: int


def begin(connection: Connection, date: str, usd: float | None) -> RowMapping:
    """Open a night or resume it, with the budget `usd` unless it has ended. Returns its row."""
    insert_new(connection, nights, [{"date": date, "state": RUNNING, "usd": usd, "started_at": time.time()}])
    open_ = sa.and_(nights.c.date == date, nights.c.state == RUNNING)
    connection.execute(sa.update(nights).where(open_).values(usd=usd))
    row = get(connection, date)
    assert row is not None, date
    return row


def get(connection: Connection, date: str) -> RowMapping | None:
    """A night's row, or None."""
    return connection.execute(sa.select(nights).where(nights.c.date == date)).mappings().first()


def unfinished(connection: Connection) -> list[str]:
    """Dates of nights that have not ended, oldest first."""
    statement = sa.select(nights.c.date).where(nights.c.state == RUNNING).order_by(nights.c.date)
    return list(connection.execute(statement).scalars())


def add_notes(connection: Connection, date: str, lines: Iterable[str]) -> None:
    """Add lines to a night's notes, each line once."""
    row = connection.execute(sa.select(nights.c.note).where(nights.c.date == date).with_for_update()).scalar() or ""
    notes = list(dict.fromkeys([*row.splitlines(), *(" ".join(line.split()) for line in lines)]))
    connection.execute(sa.update(nights).where(nights.c.date == date).values(note="\n".join(filter(None, notes))))


def end(connection: Connection, date: str) -> None:
    """Mark a night as done."""
    values = {"state": DONE, "ended_at": time.time()}
    connection.execute(sa.update(nights).where(nights.c.date == date).values(**values))


def all_versions(connection: Connection) -> dict[str, DictionaryVersion]:
    """All versions of all dictionaries by key, oldest first."""
    order = (dictionaries.c.first_seen, dictionaries.c.dictionary_key)
    rows = connection.execute(sa.select(dictionaries).order_by(*order)).mappings()
    return {row["dictionary_key"]: DictionaryVersion(**row) for row in rows}


def of_night(connection: Connection, date: str) -> list[DictionaryVersion]:
    """The versions that a night handled, oldest first."""
    mine = sa.select(dictionaries).where(dictionaries.c.night == date).order_by(dictionaries.c.first_seen)
    return [DictionaryVersion(**row) for row in connection.execute(mine).mappings()]


def add(connection: Connection, version: DictionaryVersion) -> DictionaryVersion:
    """Store a new version, and return it as stored: as a copy if another row holds the same weights by now."""
    insert_new(connection, dictionaries, [asdict(version)])
    stored = _get(connection, version.dictionary_key)
    if stored is None:  # the unique index on fingerprints refused it
        original = original_of(connection, version.fingerprint)
        assert original is not None, version.dictionary_key
        stored = replace(version, state=COPY, reason=original.path)
        insert_new(connection, dictionaries, [asdict(stored)])
    return stored


def delete_corrupt(connection: Connection, key: str) -> None:
    """Delete the row of a version that could not be loaded, before it is stored again."""
    mine = sa.and_(dictionaries.c.dictionary_key == key, dictionaries.c.state == CORRUPT)
    connection.execute(sa.delete(dictionaries).where(mine))


def original_of(connection: Connection, fingerprint: str) -> DictionaryVersion | None:
    """The row that holds these weights and is not a copy, or None."""
    mine = sa.and_(dictionaries.c.fingerprint == fingerprint, dictionaries.c.state.not_in((COPY, CORRUPT)))
    row = connection.execute(sa.select(dictionaries).where(mine)).mappings().first()
    return DictionaryVersion(**row) if row else None


def relocate(connection: Connection, version: DictionaryVersion, to: DictionaryVersion) -> DictionaryVersion:
    """Update a waiting version whose files were moved or touched, and return it."""
    changes: dict[str, Any] = {
        "dictionary_key": to.dictionary_key,
        "path": to.path,
        "lineage": to.lineage,
        "modified_at": to.modified_at,
    }
    update(connection, version.dictionary_key, **changes)
    return replace(version, **changes)


def update(connection: Connection, key: str, **values: Any) -> None:
    """Change columns of a version."""
    connection.execute(sa.update(dictionaries).where(dictionaries.c.dictionary_key == key).values(**values))


def claim(connection: Connection, key: str, date: str, forecast_usd: float) -> bool:
    """Claim a waiting version for a night, or claim again one whose start was interrupted. False if its run was started."""
    mine = sa.and_(
        dictionaries.c.dictionary_key == key,
        sa.or_(
            dictionaries.c.state == WAITING,
            sa.and_(dictionaries.c.state == QUEUED, dictionaries.c.night == date, dictionaries.c.run_id == ""),
        ),
    )
    values = {"state": QUEUED, "night": date, "forecast_usd": forecast_usd, "reason": "", "run_id": ""}
    return connection.execute(sa.update(dictionaries).where(mine).values(**values)).rowcount == 1


def assign_finds(connection: Connection, date: str) -> None:
    """Assign copies and corrupt dictionaries that no night has reported yet to this night."""
    mine = sa.and_(dictionaries.c.night == "", dictionaries.c.state.in_((COPY, CORRUPT)))
    connection.execute(sa.update(dictionaries).where(mine).values(night=date))


def add_anchors(connection: Connection, anchor_set: str, night: str, chosen: Sequence[Anchor]) -> None:
    """Store a night's anchors before they are asked; existing ones stay unchanged."""
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
    """A set's anchors as chosen by its first night, in order of number."""
    mine = anchors.c.anchor_set == anchor_set
    first = sa.select(sa.func.min(anchors.c.night)).where(mine).scalar_subquery()
    statement = sa.select(anchors).where(mine, anchors.c.night == first).order_by(anchors.c.number)
    chosen = []
    for row in connection.execute(statement).mappings():
        grade, explanation, tokens, mark = json.loads(row["item"])
        chosen.append(Anchor(row["number"], row["unit_id"], grade, explanation, tuple(tokens), mark))
    return chosen


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
    """Store a night's answer to an anchor."""
    mine = sa.and_(anchors.c.anchor_set == anchor_set, anchors.c.number == number, anchors.c.night == night)
    values = {"outcome": outcome, "score": score, "call_key": call_key}
    connection.execute(sa.update(anchors).where(mine).values(**values))


def anchor_scores(connection: Connection, anchor_set: str) -> list[tuple[str, int, str, int]]:
    """(night, number, unit, grade) of every graded anchor of a set, in order of night and number."""
    columns = (anchors.c.night, anchors.c.number, anchors.c.unit_id, anchors.c.score)
    mine = sa.and_(anchors.c.anchor_set == anchor_set, anchors.c.score.is_not(None))
    return [tuple(row) for row in connection.execute(sa.select(*columns).where(mine).order_by(*columns[:2]))]


def _get(connection: Connection, key: str) -> DictionaryVersion | None:
    row = connection.execute(sa.select(dictionaries).where(dictionaries.c.dictionary_key == key)).mappings().first()
    return DictionaryVersion(**row) if row else None
