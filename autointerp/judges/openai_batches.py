"""OpenAI's Batch API: a file of Responses requests, a batch made of it, and two files of what came of them.

Written against openai 3.52 and developers.openai.com/api/docs/guides/batch. The batch key travels in the batch's
metadata. What was answered before a batch expires or is cancelled is returned and billed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import httpx2
import openai

from autointerp.judges import error_codes, http
from autointerp.judges.base import JudgeError, MayRetry, MustStop, MustWait
from autointerp.judges.batch_api import (
    CLOCKS_S,
    SUBMIT_S,
    Answer,
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
from autointerp.judges.openai import PROVIDER, open_client, read_response, request_of
from autointerp.judges.openai_client import failure_of
from autointerp.messages import Reply
from autointerp.spec.sections import Judge as JudgeSettings

ENDPOINT = "/v1/responses"
KEY_NAME = "autointerp_batch"
_PAGE = 100
_STATES: dict[str, Any] = {
    "completed": "ended",
    "expired": "expired",
    "cancelled": "cancelled",
    "failed": "failed",
}  # all others are on their way there
_LET_LIE = frozenset({"batch_expired", "batch_cancelled"})
_FULL = frozenset({"token_limit_exceeded", "request_limit_exceeded"})
"""The account's queue of batches is full; it empties as others end."""


class OpenAIBatches:
    """The batches of one project. One client, shared by all threads."""

    most_items = 50_000
    most_bytes = 195_000_000  # of 200 MB

    def __init__(self, settings: JudgeSettings, settle_s: float) -> None:
        """Raises `UsageError` for a missing key."""
        self._settings = settings
        self._settle_s = settle_s
        self._client = open_client(settings)

    def size(self, item: BatchItem) -> int:
        return len(encode(self._line(item)))

    def submit(self, batch_key: str, items: Sequence[BatchItem]) -> str:
        metadata = {KEY_NAME: batch_key}
        input_file = self._upload(batch_key, items)
        return accepted(
            self._client.exchange(
                lambda sdk: sdk.batches.with_streaming_response.create(
                    input_file_id=input_file, endpoint=ENDPOINT, completion_window="24h", metadata=metadata
                )
            )
        )

    def find(self, batch_key: str, n_items: int, since: float, known: Collection[str]) -> str | None:
        for batch in self._back_to(since):
            metadata = batch.get("metadata")
            if isinstance(metadata, Mapping) and metadata.get(KEY_NAME) == batch_key:
                return str(batch["id"])
        doubt = undecided_until(since + self._settle_s, 0)
        if doubt is not None:
            raise doubt
        return None

    def poll(self, provider_id: str) -> BatchStatus:
        batch = self._batch(provider_id)
        counts = batch.get("request_counts") or {}
        total, completed, failed = (http.count(counts, name) for name in ("total", "completed", "failed"))
        state = _STATES.get(str(batch.get("status")), "running")
        if state == "failed":
            failure = read_failure(batch)
            return BatchStatus(state, total, completed, failed, str(failure), failure)
        reason = f"{total - completed} of {total} items were not answered" if state in ("expired", "cancelled") else ""
        return BatchStatus(state, total, completed, failed, reason)

    def results(self, provider_id: str) -> Iterator[tuple[str, Reply | JudgeError]]:
        batch = self._batch(provider_id)
        answered = batch.get("output_file_id")
        if not answered and http.count(batch, "request_counts", "completed"):
            raise MayRetry(f"{PROVIDER} has not written the results of {provider_id} yet")
        for file_id in (answered, batch.get("error_file_id")):
            if file_id:
                yield from self._read(str(file_id))

    def cancel(self, provider_id: str) -> None:
        answer = self._client.exchange(lambda sdk: sdk.batches.with_streaming_response.cancel(provider_id))
        if not (isinstance(answer, error_codes.Failure) and answer.status in (400, 409)):
            told(answer, f"batch {provider_id}")

    def close(self) -> None:
        self._client.close()

    def _line(self, item: BatchItem) -> dict[str, Any]:
        body = request_of(self._settings, item.prompt)
        return {"custom_id": item.custom_id, "method": "POST", "url": ENDPOINT, "body": body}

    def _upload(self, batch_key: str, items: Sequence[BatchItem]) -> str:
        """The id of the uploaded items. A file alone costs nothing, and OpenAI deletes it after 30 days."""
        limit = max(SUBMIT_S, self._settings.timeout_s)
        with tempfile.TemporaryFile() as file:
            file.writelines(encode(self._line(item)) for item in items)
            file.seek(0)
            answer: Answer = self._client.exchange(
                lambda sdk: sdk.files.with_streaming_response.create(
                    file=(f"{batch_key}.jsonl", file), purpose="batch", timeout=http.timeout(limit)
                ),
                limit,
            )
        file_id = told(answer, "the upload").get("id")
        if not file_id:
            raise MayRetry(f"{PROVIDER} took the batch's file without naming it")
        return str(file_id)

    def _batch(self, provider_id: str) -> dict[str, Any]:
        answer = self._client.exchange(lambda sdk: sdk.batches.with_streaming_response.retrieve(provider_id))
        return told(answer, f"batch {provider_id}")

    def _back_to(self, moment: float) -> Iterator[dict[str, Any]]:
        """The project's batches created after `CLOCKS_S` before a moment, newest first."""
        page = self._page()
        while data := page.get("data"):
            for batch in data:
                if http.count(batch, "created_at") < moment - CLOCKS_S:
                    return
                yield batch
            if not page.get("has_more"):
                return
            page = self._page(after=data[-1]["id"])

    def _page(self, **cursor: str) -> dict[str, Any]:
        answer = self._client.exchange(lambda sdk: sdk.batches.with_streaming_response.list(limit=_PAGE, **cursor))
        return told(answer, "the list of batches")

    def _read(self, file_id: str) -> Iterator[tuple[str, Reply | JudgeError]]:
        try:
            with self._client.sdk.files.with_streaming_response.content(file_id) as response:
                for line in json_lines(response.iter_bytes()):
                    yield read_result(line)
            return
        except openai.APIStatusError as error:
            failed = unbilled(failure_of(PROVIDER, error), f"file {file_id}")
        except (openai.APIConnectionError, httpx2.HTTPError) as error:
            failed = unbilled(http.connection_outcome(PROVIDER, error, self._settings.timeout_s), file_id)
        except ValueError as error:
            failed = MayRetry(f"{PROVIDER} sent a broken file {file_id}: {error_codes.tidy(str(error))}")
        raise failed


def read_result(line: Mapping[str, Any]) -> tuple[str, Reply | JudgeError]:
    """Custom id and outcome of one line of an output or error file. Raises `ValueError` for one of another shape."""
    custom_id, response, error = line.get("custom_id"), line.get("response"), line.get("error")
    if not isinstance(custom_id, str):
        raise ValueError("a line without custom_id")
    if error_codes.codes_of(error) & _LET_LIE:
        return custom_id, Unanswered(
            f"{PROVIDER} did not answer this item of a batch: {', '.join(sorted(error_codes.codes_of(error)))}"
        )
    body = response.get("body") if isinstance(response, Mapping) else None
    if not isinstance(response, Mapping) or not isinstance(body, Mapping):
        return custom_id, in_line(_failed(None, error))
    status = http.count(response, "status_code")
    if status >= 400:
        return custom_id, in_line(_failed(status, body.get("error")))
    return custom_id, in_line(read_response(body, {"x-request-id": str(response.get("request_id") or "")}))


def read_failure(batch: Mapping[str, Any]) -> JudgeError:
    """Why a batch failed as a whole, before any item was asked: nothing is billed.

    A full queue is `MustWait`. Everything else is found when the file is validated and would be found again:
    `MustStop`, with the first complaint and its line.
    """
    errors = batch.get("errors")
    data = errors.get("data") if isinstance(errors, Mapping) else None
    first = next((error for error in data or () if isinstance(error, Mapping)), {})
    line = f" (line {first['line']} of its file)" if first.get("line") is not None else ""
    said = error_codes.one_line(
        error_codes.Failure(PROVIDER, None, error_codes.codes_of(first), str(first.get("message") or ""))
    )
    if error_codes.codes_of(first) & _FULL:
        return MustWait(f"the batch failed: {said}")
    return MustStop(f"batch {batch.get('id')} failed{line}: {said}: check judge.model and the account's limits")


def _failed(status: int | None, error: Any) -> JudgeError:
    message = error.get("message", "") if isinstance(error, Mapping) else "no answer and no error"
    return error_codes.outcome_of(error_codes.Failure(PROVIDER, status, error_codes.codes_of(error), str(message)))
