"""Money set aside before a call and settled after it: per run, per night and per calendar month.

Each limit is decided by one UPDATE, all of a call's in one transaction, so they hold under any number of threads and workers.
Rows are always locked in the same order, so that no two transactions wait for each other: calls, runs, budgets, jobs.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Table

from autointerp.ledger.database import insert_new
from autointerp.ledger.schema import budgets, nights, runs

ROUNDING = 1e-9
"""Dollars by which sums of floats may be off."""


@dataclass(frozen=True)
class Limits:
    """What may be spent, in dollars; None: no limit. A night's own limit stands in its row of `nights`."""

    run: float | None = None
    month: float | None = None


class Short(Exception):
    """A reservation that a limit does not allow; the transaction it was tried in must be rolled back."""

    def __init__(self, scope: str, needed: float, limit: float, spent: float, reserved: float, lost: float) -> None:
        super().__init__(scope, needed, limit, spent, reserved, lost)
        self.scope, self.needed, self.limit = scope, needed, limit
        self.spent, self.reserved, self.lost = spent, reserved, lost

    @property
    def may_ease(self) -> bool:
        """Whether calls in flight may yet give back what they hold, or one just did."""
        committed = self.spent + self.reserved + self.lost
        return self.reserved > ROUNDING or committed + self.needed <= self.limit + ROUNDING


class NotRunning(Exception):
    """The run was stopped or cancelled, by whomever: nothing more is asked for it."""


def month_of(limits: Limits) -> str:
    """The month that pays for a call made now, in UTC; empty where no month is limited."""
    return "" if limits.month is None else time.strftime("%Y-%m", time.gmtime())


def reserve(connection: Connection, run_id: str, usd: float, limits: Limits, month: str = "") -> None:
    """Set `usd` aside for a call about to be made. Raises `Short` and `NotRunning`; roll back then."""
    state, night = _take(connection, runs, run_id, usd, limits.run, f"run {run_id}")
    if state != "running":
        raise NotRunning(state)
    for scope, limit in _scopes(connection, night, month, limits):
        _take(connection, budgets, scope, usd, limit, scope)


def left(connection: Connection, run_id: str, limits: Limits) -> float:
    """The most that could be reserved now under all limits, in dollars; infinite where there is none."""
    committed = runs.c.spent_usd + runs.c.reserved_usd + runs.c.lost_usd
    statement = sa.select(committed, runs.c.night).where(runs.c.run_id == run_id)
    used, night = connection.execute(statement).one()
    room = [float("inf")] if limits.run is None else [limits.run - used]
    scopes = _scopes(connection, night, month_of(limits), limits)
    room += [limit - spent(connection, scope) for scope, limit in scopes if limit is not None]
    return min(room) + ROUNDING


def settle(connection: Connection, run_id: str, reserved_usd: float, cost_usd: float | None, month: str = "") -> None:
    """Turn a reservation into what the call really cost; where that is unknown, all of it stays counted as lost."""
    lost = reserved_usd if cost_usd is None else 0.0
    _move(connection, run_id, month, spent_usd=cost_usd or 0.0, reserved_usd=-reserved_usd, lost_usd=lost)


def lose(connection: Connection, lost: Sequence[tuple[str, str, float]]) -> None:
    """Turn the reservations of calls that will not come back into losses; each with its run and its month."""
    by_run: defaultdict[str, float] = defaultdict(float)
    by_scope: defaultdict[str, float] = defaultdict(float)
    for run_id, _, usd in lost:
        by_run[run_id] += usd
    for run_id, usd in sorted(by_run.items()):
        night = _add(connection, runs, run_id, reserved_usd=-usd, lost_usd=usd)
        by_scope[f"night {night}"] += usd if night else 0.0
    for _, month, usd in lost:
        by_scope[f"month {month}"] += usd if month else 0.0
    for scope, usd in sorted(by_scope.items(), reverse=True):  # nights before months, as everywhere
        _add(connection, budgets, scope, reserved_usd=-usd, lost_usd=usd)


def move_to_night(connection: Connection, run_id: str, night: str) -> None:
    """Let another night pay for a run from now on, and for what its calls in flight hold."""
    statement = sa.select(runs.c.night, runs.c.reserved_usd).where(runs.c.run_id == run_id).with_for_update()
    before, held = connection.execute(statement).one()
    if before == night:
        return
    connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(night=night))
    if not held:
        return
    insert_new(connection, budgets, [{"scope": f"night {night}"}])
    for scope, usd in sorted({f"night {before}": -held, f"night {night}": held}.items()):
        _add(connection, budgets, scope, reserved_usd=usd)


def find(connection: Connection, run_id: str, reserved_usd: float, cost_usd: float | None, month: str = "") -> None:
    """Settle a call that was taken for lost and came back."""
    if cost_usd is not None:
        _move(connection, run_id, month, spent_usd=cost_usd, lost_usd=-reserved_usd)


def spent(connection: Connection, scope: str) -> float:
    """Dollars spent, reserved or lost in a scope such as `night 2026-11-21` or `month 2026-11`."""
    total = budgets.c.spent_usd + budgets.c.reserved_usd + budgets.c.lost_usd
    return connection.execute(sa.select(total).where(budgets.c.scope == scope)).scalar() or 0.0


def _scopes(connection: Connection, night: str, month: str, limits: Limits) -> list[tuple[str, float | None]]:
    scopes: list[tuple[str, float | None]] = []
    if night:
        usd = connection.execute(sa.select(nights.c.usd).where(nights.c.date == night)).scalar()
        scopes.append((f"night {night}", usd))
    if month:
        scopes.append((f"month {month}", limits.month))
    return scopes


def _take(
    connection: Connection, table: Table, key: str, usd: float, limit: float | None, scope: str
) -> tuple[Any, ...]:
    """Raise a row's reservation within its limit, and return the row's `_WANTED` columns."""
    row = connection.execute(_TAKE[table], {"the_key": key, "usd": usd, "room": _room(limit)}).first()
    if row is not None:
        return tuple(row)
    columns = (table.c.spent_usd, table.c.reserved_usd, table.c.lost_usd)
    held = connection.execute(sa.select(*columns).where(_KEY[table] == key)).first()
    if held is None:  # the first call of a night or month
        insert_new(connection, budgets, [{"scope": scope}])
        return _take(connection, table, key, usd, limit, scope)
    raise Short(scope, usd, limit or 0.0, *held)


def _room(limit: float | None) -> float:
    """What a limit allows; no limit is one that no sum reaches."""
    return 1e300 if limit is None else limit + ROUNDING


def _move(connection: Connection, run_id: str, month: str, **amounts: float) -> None:
    """Add to the columns of the run and of the night and month that pay with it, in the order in which `reserve` took."""
    night = _add(connection, runs, run_id, **amounts)
    for scope in ([f"night {night}"] if night else []) + ([f"month {month}"] if month else []):
        _add(connection, budgets, scope, **amounts)


def _add(
    connection: Connection,
    table: Table,
    key: str,
    *,
    spent_usd: float = 0.0,
    reserved_usd: float = 0.0,
    lost_usd: float = 0.0,
) -> str | None:
    """Add to the columns of a row; returns the night of a run."""
    amounts = {"spent": spent_usd, "reserved": reserved_usd, "lost": lost_usd}
    return connection.execute(_ADD[table], {"the_key": key, **amounts}).scalar()


# Built once: every call takes and gives back, and building a statement costs more than carrying it out.
_KEY = {runs: runs.c.run_id, budgets: budgets.c.scope}
_WANTED = {runs: (runs.c.state, runs.c.night), budgets: (budgets.c.scope,)}
_TAKE = {
    table: sa.update(table)
    .where(key == sa.bindparam("the_key"))
    .where(
        table.c.spent_usd + table.c.reserved_usd + table.c.lost_usd + sa.bindparam("usd", type_=sa.Float)
        <= sa.bindparam("room", type_=sa.Float)
    )
    .values(reserved_usd=table.c.reserved_usd + sa.bindparam("usd", type_=sa.Float))
    .returning(*_WANTED[table])
    for table, key in _KEY.items()
}
_ADD = {
    table: sa.update(table)
    .where(key == sa.bindparam("the_key"))
    .values(
        spent_usd=table.c.spent_usd + sa.bindparam("spent", type_=sa.Float),
        reserved_usd=table.c.reserved_usd + sa.bindparam("reserved", type_=sa.Float),
        lost_usd=table.c.lost_usd + sa.bindparam("lost", type_=sa.Float),
    )
    .returning(runs.c.night if table is runs else budgets.c.scope)
    for table, key in _KEY.items()
}
