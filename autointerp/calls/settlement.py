"""Closes calls in the ledger with what they came to, so that no reply, however odd, leaves a call open under a live worker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from sqlalchemy import Connection

from autointerp.calls.answers import Answer, OnSettled
from autointerp.errors import LedgerFailed, LedgerRejected
from autointerp.judges.base import ItemFailed
from autointerp.ledger import calls
from autointerp.ledger.database import Ledger
from autointerp.messages import Reply, Usage
from autointerp.records import Outcome
from sae.errors import one_line

T = TypeVar("T")

UNSTORABLE = (LedgerRejected, ValueError, OverflowError)
"""What the ledger or a database's driver raises for a value that it cannot store, such as a text too long or a number too large."""


@dataclass(frozen=True)
class Settlement:
    """What a call came to. A `cost_usd` of None is unknown: the whole reservation then counts as spent."""

    run_id: str
    call_id: int
    reserved_usd: float
    month: str
    state: str
    reason: str
    reply: Reply | None
    usage: Usage
    cost_usd: float | None
    duration_s: float = 0.0

    def write(self, tx: Connection) -> None:
        """Close the call."""
        values = {name: value for name, value in vars(self).items() if name != "call_id"}
        calls.end(tx, self.call_id, **values)

    def without_reply(self, reason: str) -> Settlement:
        """The same call, closed as lost: its reply cannot be stored, and may be billed."""
        return replace(self, state=calls.LOST, reason=reason, reply=None, usage=Usage(known=False), cost_usd=None)


@dataclass(frozen=True)
class AfterReply:
    """What follows in the transaction that stores a reply: `follow_up`, unless `stands`, which may withdraw the reply, says no."""

    follow_up: Callable[[Connection], None]
    stands: Callable[[Connection], bool] = lambda _: True


def settle(ledger: Ledger, settlement: Settlement, after: AfterReply | None = None) -> None:
    """Close a call, and write what follows from its answer in the same transaction.

    If what follows cannot be written, the paid answer is stored without it; if the database refuses the answer itself, the call is
    closed without it. Raises `ItemFailed` in the second case and if the database refused what follows, other errors of `follow_up` as
    they are, and `LedgerFailed`, which alone leaves the call open.
    """

    def write(tx: Connection) -> None:
        settlement.write(tx)
        if after is not None and after.stands(tx):
            after.follow_up(tx)

    def write_alone(tx: Connection) -> None:
        settlement.write(tx)
        if after is not None:
            after.stands(tx)

    try:
        return ledger.write_with_retry(write)
    except LedgerFailed:
        raise
    except Exception as error:
        cause = error
    try:
        ledger.write_with_retry(write_alone)
    except UNSTORABLE as error:
        cause = error
        ledger.write_with_retry(settlement.without_reply(_why(error)).write)
    if isinstance(cause, UNSTORABLE):
        raise ItemFailed(_why(cause)) from None
    raise cause


def conclude(
    ledger: Ledger,
    answer: Answer[T],
    on_settled: OnSettled[T] | None,
    before: Callable[[Connection], None] | None = None,
) -> None:
    """Write what follows from an answer that needs no call. An answer that the database refuses is unscored, with the reason.

    `before` is called first in the transaction; what it raises is raised, and nothing is written.
    """

    def write(answer: Answer[T]) -> None:
        with ledger.write() as tx:
            if before is not None:
                before(tx)
            if on_settled is not None:
                on_settled(tx, answer)

    try:
        write(answer)
    except UNSTORABLE as error:
        write(Answer(None, Outcome.PROVIDER_ERROR, _why(error), answer.call_key))


def _why(error: Exception) -> str:
    return f"the answer could not be stored: {one_line(error)}"
