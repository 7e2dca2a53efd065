"""The state of a submitted batch, as those that hand in and those that collect share it."""

from __future__ import annotations

from sqlalchemy import Connection

from autointerp.errors import ProviderStopped
from autointerp.judges.base import JudgeError, MustStop, MustWait
from autointerp.ledger import batches, calls, events
from autointerp.ledger.database import Ledger
from autointerp.messages import Prompt, Usage

POLL_FROM_S, POLL_TO_S = 5.0, 300.0
"""A batch is asked after at intervals of a tenth of its age, within these bounds."""


RETRY_S = 30.0


CANCELLED = "cancelled with its run"


_KEY, _JOB = 16, 40


class StillOpen(Exception):
    """Only the provider has the answer to `prompt`, whose key is `key`."""

    def __init__(self, prompt: Prompt, key: str) -> None:
        super().__init__(key)
        self.prompt, self.key = prompt, key


def item_id(batch_key: str, job_key: str) -> str:
    """The custom id of a job's question: a start of the batch's key, which proves whose it is, and one of the job's."""
    return f"{batch_key[:_KEY]}-{job_key[:_JOB]}"


def submitted(ledger: Ledger, batch_key: str, run_id: str, provider_id: str, said: str) -> None:
    """Note a provider's id of a batch, before anything is asked about it."""
    with ledger.write() as tx:
        batches.update(
            tx, batch_key, state=batches.SUBMITTED, provider_id=provider_id, reason="", poll_in_s=POLL_FROM_S
        )
        events.add(tx, run_id, f"{said}: {provider_id}")


def dissolve(ledger: Ledger, batch_key: str, run_id: str, error: JudgeError, *, tried: bool = True) -> None:
    """Give up a batch of which nothing was answered or billed; its items fall due again. Raises `ProviderStopped` for `MustStop`."""
    wait = (error.retry_after_s or RETRY_S) if isinstance(error, MustWait) else RETRY_S
    with ledger.write() as tx:
        _close_unanswered(
            tx, batch_key, run_id, str(error), tried=tried and not isinstance(error, MustWait), wait_s=wait
        )
        batches.update(tx, batch_key, state=batches.DISSOLVED, reason=str(error))
        events.add(tx, run_id, f"batch given up: {error}", level="warning")
    if isinstance(error, MustStop):
        raise ProviderStopped(str(error))


def _close_unanswered(
    tx: Connection, batch_key: str, run_id: str, reason: str, *, tried: bool, wait_s: float = 0.0
) -> int:
    """Let the items that have no answer, and are not billed, fall due again. Returns how many."""
    left = batches.open_items(tx, batch_key)
    for item in left:
        calls.end(
            tx,
            item["call_id"],
            run_id=run_id,
            state=calls.ERROR,
            reason=reason,
            reply=None,
            usage=Usage(),
            cost_usd=0.0,
            reserved_usd=item["reserved_usd"],
            duration_s=0.0,
            month=item["month"],
        )
    keys = [item["job_key"] for item in left]
    batches.give_back(tx, run_id, keys, error=reason, tried=tried, wait_s=wait_s)
    return len(left)
