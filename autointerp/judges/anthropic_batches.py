"""Anthropic's Message Batches: every item is a Messages request, answered within 24 hours or expired unbilled.

Written against anthropic 2.11 and platform.claude.com/docs/en/build-with-claude/batch-processing. The system prompt is
cached for an hour instead of five minutes, which that page recommends: a batch's items are answered over a longer time.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import anthropic
import httpx2

from autointerp.judges import error_codes, http
from autointerp.judges.anthropic import PROVIDER, exchange, failure_of, open_client, read_message, request_of
from autointerp.judges.base import JudgeError, MayRetry
from autointerp.judges.batch_api import (
    CLOCKS_S,
    SUBMIT_S,
    BatchItem,
    BatchStatus,
    Unanswered,
    accepted,
    encode,
    in_line,
    json_lines,
    told,
    unbilled,
    undecided_until,
)
from autointerp.messages import Reply, Usage
from autointerp.spec.sections import Judge as JudgeSettings

_PAGE = 1000
_OVER = "ended"


class AnthropicBatches:
    """The Message Batches of one account. One client, shared by all threads."""

    most_items = 100_000
    most_bytes = 250_000_000  # of 256 MB

    def __init__(self, settings: JudgeSettings, settle_s: float) -> None:
        """Raises `UsageError` for a missing key and for settings that the model does not take."""
        self._settings = settings
        self._settle_s = settle_s
        self._client = open_client(settings)
        self._batches = self._client.messages.batches.with_streaming_response

    def size(self, item: BatchItem) -> int:
        return len(encode(self._request(item)))

    def submit(self, batch_key: str, items: Sequence[BatchItem]) -> str:
        requests = [self._request(item) for item in items]
        return accepted(self._ask("create", {"requests": requests}, max(SUBMIT_S, self._settings.timeout_s)))

    def find(self, batch_key: str, n_items: int, since: float, known: Collection[str]) -> str | None:
        candidates = [
            batch
            for batch in self._around(since)
            if batch["id"] not in known and sum(_counts(batch).values()) == n_items and not batch.get("archived_at")
        ]
        for batch in candidates:
            if batch.get("processing_status") == _OVER and self._is_ours(batch["id"], batch_key):
                return str(batch["id"])
        running = [str(batch["id"]) for batch in candidates if batch.get("processing_status") != _OVER]
        if len(running) == 1:
            return running[0]
        doubt = undecided_until(since + self._settle_s, len(running))
        if doubt is not None:
            raise doubt
        return None

    def poll(self, provider_id: str) -> BatchStatus:
        batch = told(self._ask("retrieve", {"message_batch_id": provider_id}), f"batch {provider_id}")
        counts = _counts(batch)
        total, succeeded, errored = sum(counts.values()), counts["succeeded"], counts["errored"]
        if batch.get("processing_status") != _OVER:
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
        try:
            with self._batches.results(provider_id) as response:
                for line in json_lines(response.iter_bytes()):
                    yield read_result(line)
            return
        except anthropic.APIStatusError as error:
            failed = unbilled(failure_of(error), f"batch {provider_id}")
        except (anthropic.APIConnectionError, httpx2.HTTPError) as error:
            failed = unbilled(http.connection_outcome(PROVIDER, error, self._settings.timeout_s), provider_id)
        except anthropic.AnthropicError as error:
            failed = MayRetry(f"{PROVIDER} has no results of {provider_id}: {error_codes.tidy(str(error))}")
        except ValueError as error:
            failed = MayRetry(f"{PROVIDER} sent broken results of {provider_id}: {error_codes.tidy(str(error))}")
        raise failed

    def cancel(self, provider_id: str) -> None:
        answer = self._ask("cancel", {"message_batch_id": provider_id})
        if not (isinstance(answer, error_codes.Failure) and answer.status in (400, 409)):
            told(answer, f"batch {provider_id}")

    def close(self) -> None:
        self._client.close()

    def _request(self, item: BatchItem) -> dict[str, Any]:
        return {"custom_id": item.custom_id, "params": request_of(self._settings, item.prompt, cache_for="1h")}

    def _ask(self, method: str, request: Mapping[str, Any], timeout_s: float | None = None) -> Any:
        return exchange(getattr(self._batches, method), request, timeout_s or self._settings.timeout_s)

    def _around(self, moment: float) -> Iterator[dict[str, Any]]:
        """The workspace's batches created within `CLOCKS_S` of a moment, newest first."""
        page = self._page()
        while data := page.get("data"):
            for batch in data:
                created = _seconds(batch.get("created_at"))
                if created < moment - CLOCKS_S:
                    return
                if created <= moment + CLOCKS_S:
                    yield batch
            if not page.get("has_more"):
                return
            page = self._page(after_id=page["last_id"])

    def _page(self, **cursor: str) -> dict[str, Any]:
        return told(self._ask("list", {"limit": _PAGE, **cursor}), "the list of batches")

    def _is_ours(self, provider_id: str, batch_key: str) -> bool:
        results = self.results(provider_id)
        custom_id, _ = next(results, ("", None))
        results.close()  # type: ignore[attr-defined]
        return custom_id.startswith(f"{batch_key[:16]}-")


def read_result(line: Mapping[str, Any]) -> tuple[str, Reply | JudgeError]:
    """Custom id and outcome of one line of results. Raises `ValueError` for one of another shape."""
    custom_id, result = line.get("custom_id"), line.get("result")
    if not isinstance(custom_id, str) or not isinstance(result, Mapping):
        raise ValueError("a line without custom_id or result")
    kind = result.get("type")
    if kind == "succeeded":
        message = result.get("message")
        return custom_id, in_line(read_message(message if isinstance(message, Mapping) else {}, {}))
    if kind in ("expired", "canceled"):
        return custom_id, Unanswered(f"{PROVIDER} did not answer this item of a batch: {kind}")
    answer = result.get("error")
    body = answer.get("error") if isinstance(answer, Mapping) else None
    codes = error_codes.codes_of(body)
    message = body.get("message", "") if isinstance(body, Mapping) else f"result of type {kind}"
    status = 400 if "invalid_request_error" in codes else None
    return custom_id, in_line(error_codes.outcome_of(error_codes.Failure(PROVIDER, status, codes, str(message))))


def _counts(batch: Mapping[str, Any]) -> dict[str, int]:
    counts = batch.get("request_counts")
    names = ("processing", "succeeded", "errored", "canceled", "expired")
    return {name: http.count(counts if isinstance(counts, Mapping) else {}, name) for name in names}


def _seconds(moment: Any) -> float:
    try:
        return datetime.fromisoformat(str(moment)).timestamp()
    except ValueError:
        return time.time()
