"""OpenAI's Batch API: an uploaded file of Responses requests, a batch made of it, and two files of results.

Written against openai 3.52 and developers.openai.com/api/docs/guides/batch. The batch's metadata hold the batch key. Items that were
answered before a batch expired or was cancelled are returned and billed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from autointerp.judges import error_codes
from autointerp.judges.base import JudgeError, MayRetry, MustStop, MustWait
from autointerp.judges.batch_api import SUBMIT_S, BatchItem, BatchStatus, UnreadableResults
from autointerp.judges.providers import http
from autointerp.judges.providers.batch_gate import METADATA_KEY, OpenAIBatch
from autointerp.judges.providers.llm_batches import (
    LLMBatches,
    accepted_id,
    body_of,
    encode,
    failed_item,
    item_outcome,
    raise_if_undecided,
    unanswered,
)
from autointerp.judges.providers.openai import PROVIDER, open_client, read_response, request_of
from autointerp.judges.providers.reply_gate import id_of
from autointerp.messages import Reply
from autointerp.spec.judge_sections import Judge as JudgeSettings

ENDPOINT = "/v1/responses"
_STATES: dict[str, Any] = {
    "completed": "ended",
    "expired": "expired",
    "cancelled": "cancelled",
    "failed": "failed",
}
"""Final states. A batch in any other state is still running."""
_UNANSWERED = frozenset({"batch_expired", "batch_cancelled"})
_QUEUE_FULL = frozenset({"token_limit_exceeded", "request_limit_exceeded"})
"""Codes of an account whose queue of batches is full. It empties as other batches end."""


class OpenAIBatches(LLMBatches[OpenAIBatch]):
    """The batches of one project."""

    max_items = 50_000
    max_bytes = 195_000_000  # of 200 MB
    batch_type = OpenAIBatch
    resource = "batches"
    id_argument = "batch_id"
    cursor_argument = "after"
    page_size = 100

    def __init__(self, settings: JudgeSettings, settle_s: float) -> None:
        """Raises `UsageError` for a missing key."""
        super().__init__(settings, settle_s, open_client(settings))

    def submit(self, batch_key: str, items: Sequence[BatchItem]) -> str:
        file_id = self._upload(batch_key, items)
        return accepted_id(
            self._client.exchange(
                "batches.create",
                input_file_id=file_id,
                endpoint=ENDPOINT,
                completion_window="24h",
                metadata={METADATA_KEY: batch_key},
            )
        )

    def find(self, batch_key: str, n_items: int, since: float, known: Collection[str]) -> str | None:
        for batch in self._created_since(since):
            if batch.metadata.batch_key == batch_key:
                return batch.id
        raise_if_undecided(since + self._settle_s, 0)
        return None

    def results(self, provider_id: str) -> Iterator[tuple[str, Reply | JudgeError]]:
        batch = self._retrieve(provider_id)
        if not batch.output_file_id and batch.request_counts.completed:
            raise MayRetry(f"{PROVIDER} has not written the results of {provider_id} yet")
        unreadable: UnreadableResults | None = None
        for file_id in filter(None, (batch.output_file_id, batch.error_file_id)):
            try:
                yield from self._read_lines("files.content", f"file {file_id}", file_id=file_id)
            except UnreadableResults as error:
                unreadable = unreadable or error
        if unreadable is not None:
            raise unreadable

    def _line(self, item: BatchItem) -> dict[str, Any]:
        body = request_of(self._settings, item.prompt)
        return {"custom_id": item.custom_id, "method": "POST", "url": ENDPOINT, "body": body}

    def _status(self, batch: OpenAIBatch) -> BatchStatus:
        n = batch.request_counts
        state = _STATES.get(batch.status, "running")
        if state == "failed":
            failure = read_failure(batch)
            return BatchStatus(state, n.total, n.completed, n.failed, str(failure), failure)
        left_out = f"{n.total - n.completed} of {n.total} items were not answered"
        return BatchStatus(state, n.total, n.completed, n.failed, left_out if state in ("expired", "cancelled") else "")

    def _upload(self, batch_key: str, items: Sequence[BatchItem]) -> str:
        """Upload the items and return the file's id. A file alone costs nothing; OpenAI deletes it after 30 days."""
        limit = max(SUBMIT_S, self._settings.timeout_s)
        with tempfile.TemporaryFile() as file:
            file.writelines(encode(self._line(item)) for item in items)
            file.seek(0)
            upload = (f"{batch_key}.jsonl", file)
            answer = self._client.exchange("files.create", limit, file=upload, purpose="batch")
        file_id = id_of(body_of(answer, "the upload").get("id"))
        if not file_id:
            raise MayRetry(f"{PROVIDER} accepted the batch's file without naming it")
        return file_id

    @staticmethod
    def read_result(line: Mapping[str, Any]) -> tuple[str, Reply | JudgeError]:
        custom_id, response, error = line.get("custom_id"), line.get("response"), line.get("error")
        if not isinstance(custom_id, str):
            raise ValueError("a line without custom_id")
        if (codes := error_codes.codes_of(error)) & _UNANSWERED:
            return custom_id, unanswered(PROVIDER, ", ".join(sorted(codes & _UNANSWERED)))
        body = response.get("body") if isinstance(response, Mapping) else None
        if not isinstance(response, Mapping) or not isinstance(body, Mapping):
            return custom_id, failed_item(PROVIDER, error)
        status = http.count(response, "status_code")
        if status >= 400:
            return custom_id, failed_item(PROVIDER, body.get("error"), status)
        return custom_id, item_outcome(read_response(body, {"x-request-id": str(response.get("request_id") or "")}))


def read_failure(batch: OpenAIBatch) -> JudgeError:
    """Why a batch failed as a whole, before any item was asked: nothing is billed.

    `MustWait` if the account's queue is full. Every other failure is found when the file is validated and would occur again:
    `MustStop`, with the first complaint and its line.
    """
    code, message, line = next(
        ((complaint.code, complaint.message, complaint.line) for complaint in batch.errors.data), ("", "", None)
    )
    codes = frozenset({code}) - {""}
    complaint = error_codes.one_line(error_codes.Failure(PROVIDER, None, codes, message))
    if codes & _QUEUE_FULL:
        return MustWait(f"the batch failed: {complaint}")
    where = f" (line {line} of its file)" if line is not None else ""
    return MustStop(f"batch {batch.id} failed{where}: {complaint}: check judge.model and the account's limits")
