"""Budgets of a run, a night and a calendar month: the upper bound of a call is reserved before it and settled after it.

Each limit is checked and taken by one UPDATE, and all limits of a call in one transaction, so they hold under any number of
threads and workers. Rows are always locked in the same order (calls, runs, budgets, jobs), so that no two transactions
deadlock.
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
"""Dollars by which sums of floats may differ from the exact value."""


@dataclass(frozen=True)
class Limits:
    """Spending limits in dollars; None means no limit. A night's limit is in its row of `nights`."""

    run: float | None = None
    month: float | None = None


class BudgetShortfall(Exception):
    """A reservation exceeds a limit. The transaction it was tried in must be rolled back."""

    def __init__(self, scope: str, needed: float, limit: float, spent: float, reserved: float, lost: float) -> None:
        super().__init__(scope, needed, limit, spent, reserved, lost)
        self.scope, self.needed, self.limit = scope, needed, limit
        self.spent, self.reserved, self.lost = spent, reserved, lost

    @property
    def may_recover(self) -> bool:
        """Whether the reservation may fit later: calls in flight can return money, or one has just done so."""
        fits_now = self.spent + self.reserved + self.lost + self.needed <= self.limit + ROUNDING
        return self.reserved > ROUNDING or fits_now


class NotRunning(Exception):
    """The run was stopped or cancelled: no further call may be made for it."""


def month_of(limits: Limits) -> str:
    """The month, such as `2026-11`, whose budget pays for a call made now (UTC); empty without a monthly limit."""
    return "" if limits.month is None else time.strftime("%Y-%m", time.gmtime())


def reserve(connection: Connection, run_id: str, usd: float, limits: Limits, month: str = "") -> None:
    """Reserve `usd` for a call about to be made. Raises `BudgetShortfall` or `NotRunning`; roll back then."""
    # This UPDATE locks the run's row: the state that it returns cannot change before the reservation is committed.
    state, night = _reserve_within(connection, runs, run_id, usd, limits.run, f"run {run_id}")
    if state != "running":
        raise NotRunning(state)
    for scope, limit in _scopes(connection, night, month, limits):
        _reserve_within(connection, budgets, scope, usd, limit, scope)


def remaining(connection: Connection, run_id: str, limits: Limits) -> float:
    """The most that could be reserved now under all limits, in dollars; infinite without limits."""
    used_usd = runs.c.spent_usd + runs.c.reserved_usd + runs.c.lost_usd
    statement = sa.select(used_usd, runs.c.night).where(runs.c.run_id == run_id)
    used, night = connection.execute(statement).one()
    room = [float("inf")] if limits.run is None else [limits.run - used]
    scopes = _scopes(connection, night, month_of(limits), limits)
    room += [limit - committed(connection, scope) for scope, limit in scopes if limit is not None]
    return min(room) + ROUNDING


def settle(connection: Connection, run_id: str, reserved_usd: float, cost_usd: float | None, month: str = "") -> None:
    """Replace a reservation by the call's actual cost. With an unknown cost the whole reservation counts as lost."""
    lost = reserved_usd if cost_usd is None else 0.0
    _move(connection, run_id, month, spent_usd=cost_usd or 0.0, reserved_usd=-reserved_usd, lost_usd=lost)


def write_off(connection: Connection, lost: Sequence[tuple[str, str, float]]) -> None:
    """Turn the reservations of calls that will never return into losses. `lost` holds (run, month, dollars)."""
    by_run: defaultdict[str, float] = defaultdict(float)
    by_scope: defaultdict[str, float] = defaultdict(float)
    for run_id, _, usd in lost:
        by_run[run_id] += usd
    for run_id, usd in sorted(by_run.items()):
        night = _add(connection, runs, run_id, reserved_usd=-usd, lost_usd=usd)
        by_scope[f"night {night}"] += usd if night else 0.0
    for _, month, usd in lost:
        by_scope[f"month {month}"] += usd if month else 0.0
    for scope, usd in sorted(by_scope.items(), reverse=True):  # nights before months: the lock order
        _add(connection, budgets, scope, reserved_usd=-usd, lost_usd=usd)


def move_to_night(connection: Connection, run_id: str, night: str) -> None:
    """Charge a run to another night from now on, and move the reservations of its calls in flight there."""
    statement = (
        sa.select(runs.c.night, runs.c.reserved_usd).where(runs.c.run_id == run_id).with_for_update(key_share=True)
    )
    before, reserved = connection.execute(statement).one()
    if before == night:
        return
    connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(night=night))
    if not reserved:
        return
    insert_new(connection, budgets, [{"scope": f"night {night}"}])
    for scope, usd in sorted({f"night {before}": -reserved, f"night {night}": reserved}.items()):
        _add(connection, budgets, scope, reserved_usd=usd)


def settle_late(
    connection: Connection, run_id: str, reserved_usd: float, cost_usd: float | None, month: str = ""
) -> None:
    """Settle a call that was written off and later returned."""
    if cost_usd is not None:
        _move(connection, run_id, month, spent_usd=cost_usd, lost_usd=-reserved_usd)


def committed(connection: Connection, scope: str) -> float:
    """Dollars spent, reserved and lost in a scope such as `night 2026-11-21` or `month 2026-11`."""
    total = budgets.c.spent_usd + budgets.c.reserved_usd + budgets.c.lost_usd
    return connection.execute(sa.select(total).where(budgets.c.scope == scope)).scalar() or 0.0


def _scopes(connection: Connection, night: str, month: str, limits: Limits) -> list[tuple[str, float | None]]:
    """The scopes that pay besides the run, each with its limit."""
    scopes: list[tuple[str, float | None]] = []
    if night:
        usd = connection.execute(sa.select(nights.c.usd).where(nights.c.date == night)).scalar()
        scopes.append((f"night {night}", usd))
    if month:
        scopes.append((f"month {month}", limits.month))
    return scopes


def _reserve_within(
    connection: Connection, table: Table, key: str, usd: float, limit: float | None, scope: str
) -> tuple[Any, ...]:
    """Add to a row's reservation within its limit, and return the row's `_RETURNED` columns."""
    row = connection.execute(_RESERVE[table], {"the_key": key, "usd": usd, "ceiling": _ceiling(limit)}).first()
    if row is not None:
        return tuple(row)
    columns = (table.c.spent_usd, table.c.reserved_usd, table.c.lost_usd)
    sums = connection.execute(sa.select(*columns).where(_KEY[table] == key)).first()
    if sums is None:  # the first call of a night or month
        insert_new(connection, budgets, [{"scope": scope}])
        return _reserve_within(connection, table, key, usd, limit, scope)
    raise BudgetShortfall(scope, usd, limit or 0.0, *sums)


def _ceiling(limit: float | None) -> float:
    """The highest sum that a limit allows; without a limit one that is never reached."""
    return 1e300 if limit is None else limit + ROUNDING


def _move(connection: Connection, run_id: str, month: str, **amounts: float) -> None:
    """Add to the run's columns and to those of its night and month, in the order in which `reserve` locks them."""
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
    """Add to the columns of a row; for a run, return its night."""
    amounts = {"spent": spent_usd, "reserved": reserved_usd, "lost": lost_usd}
    return connection.execute(_ADD[table], {"the_key": key, **amounts}).scalar()


# Built once: every call reserves and settles, and building a statement costs more than running it.
_KEY = {runs: runs.c.run_id, budgets: budgets.c.scope}
_RETURNED = {runs: (runs.c.state, runs.c.night), budgets: (budgets.c.scope,)}
_RESERVE = {
    table: sa.update(table)
    .where(key == sa.bindparam("the_key"))
    .where(
        table.c.spent_usd + table.c.reserved_usd + table.c.lost_usd + sa.bindparam("usd", type_=sa.Float)
        <= sa.bindparam("ceiling", type_=sa.Float)
    )
    .values(reserved_usd=table.c.reserved_usd + sa.bindparam("usd", type_=sa.Float))
    .returning(*_RETURNED[table])
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
