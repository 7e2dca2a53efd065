"""Rows of `unit_lists` and `list_members`: named lists of units, in an order of their own.

A deleted list is kept, so that the deletion can be undone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from autointerp.errors import UsageError
from autointerp.ledger.database import advisory_lock, now
from autointerp.ledger.own.tables import list_members, unit_lists

MOST_NAME = 80
"""Characters of a name."""
MOST_LISTS, MOST_UNITS = 500, 20_000
"""Most lists of a dictionary, and most units of a list."""
_AT_ONCE = 500
_LARGEST_ID = 2**31 - 1
"""Of a whole number in both databases."""


@dataclass(frozen=True)
class UnitList:
    """A list, with the number of its units."""

    list_id: int
    name: str
    changed_at: float
    n: int
    deleted: bool = False


def all_lists(connection: Connection, dictionary: str) -> list[UnitList]:
    """The lists of a dictionary that are not deleted, by name."""
    mine = sa.and_(unit_lists.c.dictionary == dictionary, unit_lists.c.deleted_at.is_(None))
    return [UnitList(*row) for row in connection.execute(_LISTS.where(mine).order_by(unit_lists.c.name))]


def get(connection: Connection, dictionary: str, list_id: int) -> UnitList:
    """A list, also a deleted one. Raises `UsageError` if the dictionary has no such list."""
    mine = sa.and_(unit_lists.c.dictionary == dictionary, unit_lists.c.list_id == list_id)
    found = connection.execute(_LISTS.where(mine)).first() if list_id <= _LARGEST_ID else None
    if found is None:
        raise UsageError(f"there is no list {list_id} of this dictionary: the page of lists shows them")
    return UnitList(*found)


def units(connection: Connection, list_id: int) -> list[str]:
    """The ids of a list's units, in its order."""
    mine = sa.select(list_members.c.unit_id).where(list_members.c.list_id == list_id)
    return list(connection.execute(mine.order_by(list_members.c.place)).scalars())


def with_unit(connection: Connection, unit_id: str) -> set[int]:
    """The lists that have a unit."""
    return set(connection.execute(sa.select(list_members.c.list_id).where(list_members.c.unit_id == unit_id)).scalars())


def make(connection: Connection, dictionary: str, name: str, unit_ids: Sequence[str]) -> int:
    """Add a list. Returns its id. Raises `UsageError` for a name that is empty, too long or taken, and above `MOST_LISTS`."""
    advisory_lock(connection, f"lists {dictionary}")
    name = _checked(connection, dictionary, name)
    if len(all_lists(connection, dictionary)) >= MOST_LISTS:
        raise UsageError(f"there are {MOST_LISTS} lists of this dictionary, the most that are kept: delete one")
    row = {"dictionary": dictionary, "name": name, "changed_at": now(connection)}
    made = sa.insert(unit_lists).values(**row).returning(unit_lists.c.list_id)
    list_id: int = connection.execute(made).scalar_one()
    put(connection, list_id, unit_ids)
    return list_id


def rename(connection: Connection, dictionary: str, list_id: int, name: str) -> None:
    """Name a list. Raises `UsageError` as `make`."""
    advisory_lock(connection, f"lists {dictionary}")
    _change(connection, list_id, name=_checked(connection, dictionary, name, but=list_id))


def put(connection: Connection, list_id: int, unit_ids: Sequence[str]) -> None:
    """Replace a list's units; one that is given twice is kept once. Raises `UsageError` above `MOST_UNITS`."""
    unit_ids = list(dict.fromkeys(unit_ids))
    if len(unit_ids) > MOST_UNITS:
        raise UsageError(f"{len(unit_ids):,} units are too many for a list: give at most {MOST_UNITS:,}")
    connection.execute(sa.delete(list_members).where(list_members.c.list_id == list_id))
    rows = [{"list_id": list_id, "unit_id": unit_id, "place": place} for place, unit_id in enumerate(unit_ids)]
    for start in range(0, len(rows), _AT_ONCE):
        connection.execute(sa.insert(list_members), rows[start : start + _AT_ONCE])
    _change(connection, list_id)


def change(connection: Connection, list_id: int, add: Sequence[str], remove: Sequence[str]) -> None:
    """Add units at the end of a list, and remove others. Raises `UsageError` above `MOST_UNITS`."""
    without = set(remove)
    put(connection, list_id, [*(unit for unit in units(connection, list_id) if unit not in without), *add])


def delete(connection: Connection, list_id: int) -> None:
    """Delete a list, so that `restore` can undo it."""
    _change(connection, list_id, deleted_at=now(connection))


def restore(connection: Connection, dictionary: str, list_id: int) -> None:
    """Undo the deletion of a list. Raises `UsageError` if another one has its name by now."""
    advisory_lock(connection, f"lists {dictionary}")
    _checked(connection, dictionary, get(connection, dictionary, list_id).name, but=list_id)
    _change(connection, list_id, deleted_at=None)


def _checked(connection: Connection, dictionary: str, name: str, but: int | None = None) -> str:
    """The name without surrounding and repeated spaces."""
    name = " ".join(name.split())
    if not name:
        raise UsageError("the list has no name: give one")
    if len(name) > MOST_NAME:
        raise UsageError(f"the name has {len(name)} characters: shorten it to {MOST_NAME}")
    if any(each.name == name and each.list_id != but for each in all_lists(connection, dictionary)):
        raise UsageError(f"there is a list named {name!r} already: choose another name")
    return name


def _change(connection: Connection, list_id: int, **values: object) -> None:
    row = {"changed_at": now(connection), **values}
    connection.execute(sa.update(unit_lists).where(unit_lists.c.list_id == list_id).values(**row))


_n_units = sa.select(sa.func.count()).where(list_members.c.list_id == unit_lists.c.list_id).scalar_subquery()
_LISTS = sa.select(
    unit_lists.c.list_id, unit_lists.c.name, unit_lists.c.changed_at, _n_units, unit_lists.c.deleted_at.is_not(None)
)
