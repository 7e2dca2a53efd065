"""Anthropic's Message Batches: every item is a Messages request, answered within 24 hours or expired unbilled.

Written against anthropic 2.11 and platform.claude.com/docs/en/build-with-claude/batch-processing. As that page recommends, the system
prompt is cached for an hour instead of five minutes: the items of a batch are answered over a longer time.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from typing import Any

from autointerp.judges import error_codes
from autointerp.judges.base import JudgeError, MayRetry
from autointerp.judges.batch_api import SUBMIT_S, BatchItem, BatchStatus, Unanswered, id_prefix
from autointerp.judges.providers import http
from autointerp.judges.providers.anthropic import PROVIDER, open_client, read_message, request_of
from autointerp.judges.providers.llm_batches import (
    CLOCK_SKEW_S,
    LLMBatches,
    accepted_id,
    item_outcome,
    raise_if_undecided,
)
from autointerp.messages import Reply, Usage
from autointerp.spec.sections import Judge as JudgeSettings

_ENDED = "ended"


class AnthropicBatches(LLMBatches):
    """The Message Batches of one workspace."""

    max_items = 100_000
    max_bytes = 250_000_000  # of 256 MB
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
            if self._created_at(batch) <= since + CLOCK_SKEW_S
            and batch["id"] not in known
            and sum(_counts(batch).values()) == n_items
            and not batch.get("archived_at")
        ]
        for batch in candidates:
            if batch.get("processing_status") == _ENDED and self._is_ours(batch["id"], batch_key):
                return str(batch["id"])
        running = [str(batch["id"]) for batch in candidates if batch.get("processing_status") != _ENDED]
        if len(running) == 1:
            return running[0]
        raise_if_undecided(since + self._settle_s, len(running))
        return None

    def poll(self, provider_id: str) -> BatchStatus:
        batch = self._retrieve(provider_id)
        counts = _counts(batch)
        total, succeeded, errored = sum(counts.values()), counts["succeeded"], counts["errored"]
        if batch.get("processing_status") != _ENDED:
            return BatchStatus("running", total, succeeded, errored)
        if batch.get("archived_at"):
            reason = f"the results of batch {provider_id} were deleted on {batch['archived_at']}"
            return BatchStatus("failed", total, succeeded, errored, reason, MayRetry(reason, usage=Usage(known=False)))
        if counts["expired"]:
            reason = f"{counts['expired']} of {total} items expired unanswered"
            return BatchStatus("expired", total, succeeded, errored, reason)
        if counts["canceled"]:
            reason = f"{counts['canceled']} of {total} items were cancelled"
            return BatchStatus("cancelled", total, succeeded, errored, reason)
        return BatchStatus("ended", total, succeeded, errored)

    def results(self, provider_id: str) -> Iterator[tuple[str, Reply | JudgeError]]:
        return self._read_lines("messages.batches.results", f"batch {provider_id}", message_batch_id=provider_id)

    def _line(self, item: BatchItem) -> dict[str, Any]:
        return {"custom_id": item.custom_id, "params": request_of(self._settings, item.prompt, cache_for="1h")}

    def _created_at(self, batch: Mapping[str, Any]) -> float:
        try:
            return datetime.fromisoformat(str(batch.get("created_at"))).timestamp()
        except ValueError:
            return time.time()

    def _read_result(self, line: Mapping[str, Any]) -> tuple[str, Reply | JudgeError]:
        return read_result(line)

    def _is_ours(self, provider_id: str, batch_key: str) -> bool:
        with closing(
            self._read_lines("messages.batches.results", f"batch {provider_id}", message_batch_id=provider_id)
        ) as results:
            custom_id, _ = next(results, ("", None))
        return custom_id.startswith(id_prefix(batch_key))


def read_result(line: Mapping[str, Any]) -> tuple[str, Reply | JudgeError]:
    """Custom id and outcome of one line of results. Raises `ValueError` for a line of another shape."""
    custom_id, result = line.get("custom_id"), line.get("result")
    if not isinstance(custom_id, str) or not isinstance(result, Mapping):
        raise ValueError("a line without custom_id or result")
    kind = result.get("type")
    if kind == "succeeded":
        message = result.get("message")
        return custom_id, item_outcome(read_message(message if isinstance(message, Mapping) else {}, {}))
    if kind in ("expired", "canceled"):
        return custom_id, Unanswered(f"{PROVIDER} did not answer this item of a batch: {kind}")
    answer = result.get("error")
    body = answer.get("error") if isinstance(answer, Mapping) else None
    codes = error_codes.codes_of(body)
    message = body.get("message", "") if isinstance(body, Mapping) else f"result of type {kind}"
    status = 400 if "invalid_request_error" in codes else None
    failure = error_codes.Failure(PROVIDER, status, codes, str(message))
    return custom_id, item_outcome(error_codes.outcome_of(failure))


def _counts(batch: Mapping[str, Any]) -> dict[str, int]:
    counts = batch.get("request_counts")
    names = ("processing", "succeeded", "errored", "canceled", "expired")
    return {name: http.count(counts if isinstance(counts, Mapping) else {}, name) for name in names}
