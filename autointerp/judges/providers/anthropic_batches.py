"""Anthropic's Message Batches: every item is a Messages request, answered within 24 hours or expired unbilled.

Written against anthropic 2.11 and platform.claude.com/docs/en/build-with-claude/batch-processing. As that page recommends, the system
prompt is cached for an hour instead of five minutes: the items of a batch are answered over a longer time.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import closing
from typing import Any

from autointerp.judges import error_codes
from autointerp.judges.base import JudgeError, MayRetry
from autointerp.judges.batch_api import SUBMIT_S, BatchItem, BatchStatus, id_prefix
from autointerp.judges.providers.anthropic import PROVIDER, open_client, read_message, request_of
from autointerp.judges.providers.batch_gate import MessageBatch
from autointerp.judges.providers.llm_batches import (
    CLOCK_SKEW_S,
    LLMBatches,
    accepted_id,
    failed_item,
    item_outcome,
    raise_if_undecided,
    unanswered,
)
from autointerp.messages import Reply, Usage
from autointerp.spec.judge_sections import Judge as JudgeSettings

_ENDED = "ended"


class AnthropicBatches(LLMBatches[MessageBatch]):
    """The Message Batches of one workspace."""

    max_items = 100_000
    max_bytes = 250_000_000  # of 256 MB
    batch_type = MessageBatch
    resource = "messages.batches"
    id_argument = "message_batch_id"
    cursor_argument = "after_id"
    page_size = 1000

    def __init__(self, settings: JudgeSettings, settle_s: float) -> None:
        """Raises `UsageError` for a missing key and for settings that the model does not accept."""
        super().__init__(settings, settle_s, open_client(settings))

    def submit(self, batch_key: str, items: Sequence[BatchItem]) -> str:
        requests = [self._line(item) for item in items]
        limit = max(SUBMIT_S, self._settings.timeout_s)
        return accepted_id(self._client.exchange("messages.batches.create", limit, requests=requests))

    def find(self, batch_key: str, n_items: int, since: float, known: Collection[str]) -> str | None:
        candidates = [
            batch
            for batch in self._created_since(since)
            if batch.created <= since + CLOCK_SKEW_S
            and batch.id not in known
            and batch.request_counts.total == n_items
            and not batch.archived_at
        ]
        for batch in candidates:
            if batch.processing_status == _ENDED and self._is_ours(batch.id, batch_key):
                return batch.id
        running = [batch.id for batch in candidates if batch.processing_status != _ENDED]
        if len(running) == 1:
            return running[0]
        raise_if_undecided(since + self._settle_s, len(running))
        return None

    def results(self, provider_id: str) -> Generator[tuple[str, Reply | JudgeError], None, None]:
        return self._read_lines("messages.batches.results", f"batch {provider_id}", message_batch_id=provider_id)

    def _line(self, item: BatchItem) -> dict[str, Any]:
        return {"custom_id": item.custom_id, "params": request_of(self._settings, item.prompt, cache_for="1h")}

    def _status(self, batch: MessageBatch) -> BatchStatus:
        n = batch.request_counts
        if batch.processing_status != _ENDED:
            return BatchStatus("running", n.total, n.succeeded, n.errored)
        if batch.archived_at:
            reason = f"the results of batch {batch.id} were deleted on {batch.archived_at}"
            return BatchStatus(
                "failed", n.total, n.succeeded, n.errored, reason, MayRetry(reason, usage=Usage(known=False))
            )
        if n.expired:
            reason = f"{n.expired} of {n.total} items expired unanswered"
            return BatchStatus("expired", n.total, n.succeeded, n.errored, reason)
        if n.canceled:
            reason = f"{n.canceled} of {n.total} items were cancelled"
            return BatchStatus("cancelled", n.total, n.succeeded, n.errored, reason)
        return BatchStatus("ended", n.total, n.succeeded, n.errored)

    def _is_ours(self, provider_id: str, batch_key: str) -> bool:
        with closing(self.results(provider_id)) as results:
            custom_id, _ = next(results, ("", None))
        return custom_id.startswith(id_prefix(batch_key))

    @staticmethod
    def read_result(line: Mapping[str, Any]) -> tuple[str, Reply | JudgeError]:
        custom_id, result = line.get("custom_id"), line.get("result")
        if not isinstance(custom_id, str) or not isinstance(result, Mapping):
            raise ValueError("a line without custom_id or result")
        kind = result.get("type")
        if kind == "succeeded":
            message = result.get("message")
            return custom_id, item_outcome(read_message(message if isinstance(message, Mapping) else {}, {}))
        if kind in ("expired", "canceled"):
            return custom_id, unanswered(PROVIDER, kind)
        answer = result.get("error")
        error = answer.get("error") if isinstance(answer, Mapping) else None
        status = 400 if "invalid_request_error" in error_codes.codes_of(error) else None
        return custom_id, failed_item(PROVIDER, error, status)
