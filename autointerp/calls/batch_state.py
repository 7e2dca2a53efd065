"""What the submission and the collection of batches share: item ids, the changes of a batch's state, and their times."""

from __future__ import annotations

from sqlalchemy import Connection

from autointerp.errors import ProviderStopped
from autointerp.judges.base import JudgeError, MustStop, MustWait
from autointerp.judges.batch_api import id_prefix
from autointerp.ledger import batches, calls, events
from autointerp.ledger.database import Ledger
from autointerp.messages import Prompt, Usage

MIN_POLL_S, MAX_POLL_S = 5.0, 300.0
"""A batch is polled at intervals of a tenth of its age, within these bounds."""
RETRY_S = 30.0
"""Wait after a failed request about a batch, and before the items of an abandoned batch are due again."""
CANCELLED = "cancelled with its run"
"""The reason stored with a batch whose run was cancelled."""

UNBILLED = Usage()
_JOB_KEY_CHARS = 40


class NeedsProvider(Exception):
    """The answer to `prompt`, whose call key is `key`, is not known: only the provider can give it."""

    def __init__(self, prompt: Prompt, key: str) -> None:
        super().__init__(key)
        self.prompt, self.key = prompt, key


def item_id(batch_key: str, job_key: str) -> str:
    """The custom id of a job's question: the batch's prefix, which shows whose item it is, and the beginning of the job's key."""
    return id_prefix(batch_key) + job_key[:_JOB_KEY_CHARS]


def mark_submitted(ledger: Ledger, batch_key: str, run_id: str, provider_id: str, event: str) -> None:
    """Store the provider's id of a batch, before the provider is asked anything about it."""
    with ledger.write() as tx:
        batches.update(tx, batch_key, state=batches.SUBMITTED, provider_id=provider_id, reason="", poll_in_s=MIN_POLL_S)
        events.add(tx, run_id, f"{event}: {provider_id}")


def abandon(ledger: Ledger, batch_key: str, run_id: str, error: JudgeError, *, tried: bool = True) -> None:
    """Give up a batch of which nothing was answered; its items are due again after a while.

    `tried` counts an attempt of each item, except after `MustWait`. Raises `ProviderStopped` for `MustStop`.
    """
    wait = (error.retry_after_s or RETRY_S) if isinstance(error, MustWait) else RETRY_S
    usage = error.usage or Usage()
    tried = tried and not isinstance(error, MustWait)
    with ledger.write() as tx:
        close_unanswered(tx, batch_key, run_id, str(error), tried=tried, wait_s=wait, usage=usage)
        batches.update(tx, batch_key, state=batches.DISSOLVED, reason=str(error))
        events.add(tx, run_id, f"batch given up: {error}", level="warning")
    if isinstance(error, MustStop):
        raise ProviderStopped(str(error))


def close_unanswered(
    tx: Connection,
    batch_key: str,
    run_id: str,
    reason: str,
    *,
    tried: bool,
    wait_s: float = 0.0,
    usage: Usage = UNBILLED,
) -> int:
    """Close the calls of a batch that have no answer, and make their jobs due again. Returns their number.

    They are not billed, or, with an unknown usage, may be: then their whole reservation counts as spent.
    """
    left = batches.open_calls(tx, batch_key)
    state, cost = (calls.ERROR, 0.0) if usage.known else (calls.LOST, None)
    for item in left:
        calls.end(
            tx,
            item["call_id"],
            run_id=run_id,
            state=state,
            reason=reason,
            reply=None,
            usage=usage,
            cost_usd=cost,
            reserved_usd=item["reserved_usd"],
            duration_s=0.0,
            month=item["month"],
        )
    # All jobs of the batch, and not only those of open calls: a kill may have come between the end of a call and that of its job.
    batches.return_jobs(tx, run_id, batches.job_keys(tx, batch_key), error=reason, tried=tried, wait_s=wait_s)
    return len(left)
