"""Rows of `unit_notes`: one text for each unit, which a change replaces only if it is based on the newest version."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from autointerp.errors import UsageError
from autointerp.ledger.database import advisory_lock, insert_new, now
from autointerp.ledger.own.tables import unit_notes

MOST_CHARACTERS = 10_000
"""Longest note."""
MOST_NOTES = 100_000
"""Most notes about one dictionary."""


@dataclass(frozen=True)
class Note:
    """A unit's note. Version 0, without a text, is that of a unit which never had one."""

    unit_id: str
    text: str = ""
    version: int = 0
    changed_at: float | None = None


class Outdated(UsageError):
    """The note was changed after the version on which a change is based."""


def note_of(connection: Connection, dictionary: str, unit_id: str) -> Note:
    """A unit's note."""
    columns = (unit_notes.c.text, unit_notes.c.version, unit_notes.c.changed_at)
    found = connection.execute(sa.select(*columns).where(_is(dictionary, unit_id))).first()
    return Note(unit_id) if found is None else Note(unit_id, *found)


def write(connection: Connection, dictionary: str, unit_id: str, text: str, based_on: int) -> Note:
    """Replace a unit's note; an empty text deletes it. Raises `Outdated` if `based_on` is not its version, and `UsageError` for a text that is
    too long, or if there are too many notes."""
    if len(text) > MOST_CHARACTERS:
        raise UsageError(f"the note has {len(text):,} characters: shorten it to {MOST_CHARACTERS:,}")
    advisory_lock(connection, f"notes {dictionary}")
    before = note_of(connection, dictionary, unit_id)
    if based_on != before.version:
        raise Outdated(
            f"the note of {unit_id} was changed in another window meanwhile: copy your text, and load it again"
        )
    if before.text == "" != text and len(noted(connection, dictionary)) >= MOST_NOTES:
        raise UsageError(f"there are {MOST_NOTES:,} notes about this dictionary, the most that are kept: delete some")
    row = {"text": text, "version": before.version + 1, "changed_at": now(connection)}
    if before.version == 0:
        insert_new(connection, unit_notes, [{"dictionary": dictionary, "unit_id": unit_id, **row}])
    else:
        connection.execute(sa.update(unit_notes).where(_is(dictionary, unit_id)).values(**row))
    return note_of(connection, dictionary, unit_id)


def noted(connection: Connection, dictionary: str) -> list[str]:
    """The ids of the units that have a note."""
    has_text = sa.and_(unit_notes.c.dictionary == dictionary, unit_notes.c.text != "")
    return list(connection.execute(sa.select(unit_notes.c.unit_id).where(has_text)).scalars())


def texts(connection: Connection, dictionary: str, unit_ids: list[str]) -> dict[str, str]:
    """The notes of some units, by id."""
    found: dict[str, str] = {}
    for start in range(0, len(unit_ids), 500):
        some = sa.and_(unit_notes.c.dictionary == dictionary, unit_notes.c.unit_id.in_(unit_ids[start : start + 500]))
        rows = connection.execute(
            sa.select(unit_notes.c.unit_id, unit_notes.c.text).where(some, unit_notes.c.text != "")
        )
        found |= {row.unit_id: row.text for row in rows}
    return found


def _is(dictionary: str, unit_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(unit_notes.c.dictionary == dictionary, unit_notes.c.unit_id == unit_id)
