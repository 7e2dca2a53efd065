"""Polls provider batches, recovers submissions with an unknown outcome, and stores each result.

Any process with the ledger and the provider's key may process any batch, so a restarted process continues with running batches. One process
at a time processes a batch. Its results may be read again from the start: only open calls are settled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from sqlalchemy import Connection, RowMapping

from autointerp.calls import batch_state
from autointerp.calls.answers import Answer, OnSettled, call_key, read_reply, storable
from autointerp.calls.batch_state import (
    CANCELLED,
    NeedsProvider,
    abandon,
    close_unanswered,
    item_id,
    mark_submitted,
)
from autointerp.calls.batches import Batcher, Failures
from autointerp.calls.caller import SAME_ERROR_LIMIT
from autointerp.calls.settlement import AfterReply, Settlement, settle
from autointerp.errors import ProviderStopped
from autointerp.judges import prices
from autointerp.judges.base import ItemFailed, JudgeError, MayRetry, MustStop, MustWait
from autointerp.judges.batch_api import Undecided, UnreadableResults, id_prefix
from autointerp.ledger import batches, calls, events, jobs, judgements
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import Job
from autointerp.ledger.judgements import error_kind
from autointerp.messages import Prompt, Reply, Usage

T = TypeVar("T")


def process(batcher: Batcher, batch_key: str) -> None:
    """Recover, poll or collect a batch, unless another worker is doing so. Raises `ProviderStopped` if a person must act first."""
    with batcher.ledger.write() as tx:
        row = batches.claim(tx, batch_key, batcher.owner)
    if row is None:
        return
    try:
        if not row["provider_id"]:
            _recover(batcher, row)
        else:
            _poll(batcher, row)
    except MustStop as error:
        with batcher.ledger.write() as tx:
            batches.update(tx, batch_key, poll_in_s=batch_state.MAX_POLL_S, reason=str(error))
        raise ProviderStopped(f"{batcher.judge.name}: {error}") from None
    except JudgeError as error:
        wait = (error.retry_after_s or batch_state.RETRY_S) if isinstance(error, MustWait) else batch_state.RETRY_S
        with batcher.ledger.write() as tx:
            batches.update(tx, batch_key, poll_in_s=wait, reason=str(error))


def cancel(batcher: Batcher, row: RowMapping) -> None:
    """Ask the provider to stop a batch; the items that it answered until then are collected. Raises `JudgeError`."""
    if row["provider_id"]:
        batcher.provider.cancel(row["provider_id"])
        with batcher.ledger.write() as tx:
            batches.update(tx, row["batch_key"], poll_in_s=0.0, reason=CANCELLED)


def _recover(batcher: Batcher, row: RowMapping) -> None:
    """Find out whether a submission whose answer was lost was accepted."""
    key, run_id = row["batch_key"], row["run_id"]
    with batcher.ledger.read() as tx:
        known = batches.provider_ids(tx)
    provider_id = batcher.provider.find(key, row["n_items"], row["created_at"], known)
    if provider_id is None:
        abandon(batcher.ledger, key, run_id, Undecided("it was never accepted"), tried=False)
    else:
        mark_submitted(batcher.ledger, key, run_id, provider_id, "batch found again")


def _poll(batcher: Batcher, row: RowMapping) -> None:
    status = batcher.provider.poll(row["provider_id"])
    if status.state == "running":
        with batcher.ledger.write() as tx:
            wait = max(batch_state.MIN_POLL_S, min(batch_state.MAX_POLL_S, batches.age_s(tx, row) / 10))
            batches.update(tx, row["batch_key"], poll_in_s=wait)
    elif status.failure is not None:
        if isinstance(status.failure, MustWait):
            batcher.note_room(row["n_items"], has_room=False)
        abandon(batcher.ledger, row["batch_key"], row["run_id"], status.failure)
    else:
        batcher.note_room(row["n_items"], has_room=True)
        _collect(batcher, row, status.reason)


def _collect(batcher: Batcher, row: RowMapping, reason: str) -> None:
    """Settle every item by its result; items without a result are due again. Raises `MustStop`, and `ProviderStopped`."""
    key, run_id = row["batch_key"], row["run_id"]
    with batcher.ledger.read() as tx:
        items = {item_id(key, item["job_key"]): item for item in batches.open_calls(tx, key)}
        waiting = jobs.by_key(tx, run_id, [item["job_key"] for item in items.values()])
    ends = _Ends()
    missing = Usage()
    try:
        for custom_id, outcome in batcher.provider.results(row["provider_id"]):
            ends.note(custom_id.startswith(id_prefix(key)))
            if (item := items.pop(custom_id, None)) is not None:
                if (job := waiting.get(item["job_key"])) is not None:
                    ends.add(job, outcome)
                    _settle_item(batcher, job, item, outcome)
                else:  # the question was deleted, with an explanation that is asked for again
                    _store_alone(batcher, item, outcome)
    except UnreadableResults as error:
        if row["reason"] != str(error):
            raise
        reason, missing = str(error), Usage(known=False)  # the second time: these lines are lost, and may be billed
    if ends.are_anothers:
        _disown(batcher.ledger, row)
        return
    with batcher.ledger.write() as tx:
        left = close_unanswered(
            tx, key, run_id, reason or "the batch ended without an answer", tried=True, usage=missing
        )
        batches.update(tx, key, state=batches.COLLECTED, reason=reason)
        event = f"batch {row['provider_id']} collected: {row['n_items'] - left:,} of {row['n_items']:,} items settled"
        events.add(tx, run_id, event + (f"; {reason}" if reason else ""), level="warning" if left else "info")
    _stop_if_all_failed(batcher, ends)
    for scorer in (None, *sorted({job.scorer for job in waiting.values()})):
        batcher.breaker.room((batcher.stage, scorer))


class _Ends:
    """How the items of one batch ended."""

    def __init__(self) -> None:
        self.are_ours = self.are_foreign = False
        self.kinds: Counter[str] = Counter()
        """Items by the kind of the error with which they end; an empty string for an answer, and for an item that is asked again."""
        self.jobs: list[str] = []
        self.stop: MustStop | None = None

    def note(self, is_ours: bool) -> None:
        """A line of the results, whose custom id is one of this batch, or not."""
        self.are_ours |= is_ours
        self.are_foreign |= not is_ours

    def add(self, job: Job, outcome: Reply | JudgeError) -> None:
        """The outcome of an item."""
        is_last = isinstance(outcome, MayRetry) and job.attempts + 1 >= jobs.MAX_ATTEMPTS
        failed = isinstance(outcome, ItemFailed) or is_last
        self.kinds[error_kind(str(outcome)) if failed else ""] += 1
        if is_last:
            self.jobs.append(job.job_key)
        if isinstance(outcome, MustStop):
            self.stop = self.stop or outcome

    @property
    def are_anothers(self) -> bool:
        """Whether the results are those of another submission."""
        return self.are_foreign and not self.are_ours

    @property
    def shared_error(self) -> str | None:
        """The kind of error in which all items ended, if there are enough of them; the cause is then not the items."""
        return next(iter(self.kinds)) if len(self.kinds) == 1 and self.kinds.total() >= SAME_ERROR_LIMIT else None


def _stop_if_all_failed(batcher: Batcher, ends: _Ends) -> None:
    """Raise `MustStop` if an item says so, and `ProviderStopped` if all ended in the same error; they will be asked again."""
    if ends.stop is not None:
        raise ends.stop
    if kind := ends.shared_error:
        with batcher.ledger.write() as tx:
            judgements.withdraw(tx, batcher.run_id, [*judgements.failed(tx, batcher.run_id, kind), *ends.jobs])
        raise ProviderStopped(
            f"{batcher.judge.name}: all {ends.kinds[kind]:,} items of a batch failed with the same error: {kind}"
        )


def _disown(ledger: Ledger, row: RowMapping) -> None:
    """Detach the provider's batch, which belongs to another submission, and look for the right one again."""
    with ledger.write() as tx:
        batches.update(tx, row["batch_key"], state=batches.PREPARED, provider_id="", poll_in_s=0.0, reason="not ours")
        events.add(tx, row["run_id"], f"batch {row['provider_id']} belongs to another submission", level="warning")


def _settle_item(batcher: Batcher, job: Job, item: RowMapping, outcome: Reply | JudgeError) -> None:
    """Store the outcome of one item and continue its job with it."""
    if isinstance(outcome, Reply):
        answering = _AnswerOnce(batcher, item, storable(outcome))
        try:
            batcher.run_job(job, answering)
        except NeedsProvider:  # the job has a further question, or no longer asks this one
            if not answering.is_settled:
                _store_alone(batcher, item, outcome)
            _return(batcher, job)
        except ItemFailed as unstorable:
            _continue(batcher, job, {item["call_key"]: unstorable})
        return
    _store_alone(batcher, item, outcome)
    if isinstance(outcome, ItemFailed):
        _continue(batcher, job, {})
    else:
        with batcher.ledger.write() as tx:
            batches.return_jobs(tx, batcher.run_id, [job.job_key], error=str(outcome), tried=True)


def _store_alone(batcher: Batcher, item: RowMapping, outcome: Reply | JudgeError) -> None:
    """Close an item's call without its job. A reply is paid for, and answers the same question in other runs."""
    if isinstance(outcome, Reply):
        reply = storable(outcome)
        state = calls.SCORED if reply.stop == "complete" else reply.stop
        with suppress(ItemFailed):
            settle(batcher.ledger, _settlement(batcher, item, state, "", reply, reply.usage))
        return
    state = outcome.reason if isinstance(outcome, ItemFailed) else calls.ERROR
    settle(batcher.ledger, _settlement(batcher, item, state, str(outcome), None, outcome.usage))


def _continue(batcher: Batcher, job: Job, failures: Failures) -> None:
    """Continue a job of which a question has failed; it is due again if it has a further one."""
    if batcher.question(job, failures) is not None:
        _return(batcher, job)


def _return(batcher: Batcher, job: Job) -> None:
    with batcher.ledger.write() as tx:
        batches.return_jobs(tx, batcher.run_id, [job.job_key], error="", tried=False)


class _AnswerOnce:
    """An `Ask` that answers an item's question with its reply, and all others from the ledger."""

    def __init__(self, batcher: Batcher, item: RowMapping, reply: Reply) -> None:
        self._batcher, self._item, self._reply = batcher, item, reply
        self.is_settled = False

    def __call__(
        self, prompt: Prompt, parse: Callable[[str], T], job: Job, repeat: int, on_settled: OnSettled[T] | None, /
    ) -> Answer[T]:
        batcher, item, reply = self._batcher, self._item, self._reply
        if call_key(batcher.judge, prompt, repeat) != item["call_key"]:
            return batcher.ask(prompt, parse, job, repeat, on_settled)
        answer = read_reply(reply, parse, item["call_key"])
        self.is_settled = True
        ended = _settlement(batcher, item, answer.outcome.value, answer.reason, reply, reply.usage)

        def follow_up(tx: Connection) -> None:
            if on_settled is not None:
                on_settled(tx, answer)

        settle(batcher.ledger, ended, AfterReply(follow_up))
        return answer


def _settlement(
    batcher: Batcher, item: RowMapping, state: str, reason: str, reply: Reply | None, usage: Usage | None
) -> Settlement:
    """What an item's call came to. Without a usage, nothing is billed."""
    return Settlement(
        batcher.run_id,
        item["call_id"],
        item["reserved_usd"],
        item["month"],
        state,
        reason,
        reply,
        usage or Usage(),
        prices.cost(usage, batcher.price, batch=True) if usage else 0.0,
    )
