"""What the batch APIs of all providers share: sizes, polling, paging, cancelling and reading results line by line."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Any, ClassVar

import httpx2

from autointerp.judges import error_codes
from autointerp.judges.base import ItemFailed, JudgeError, MayRetry, MustStop, MustWait
from autointerp.judges.batch_api import BatchItem, Undecided
from autointerp.judges.error_codes import Answer, Failure
from autointerp.judges.providers import http
from autointerp.judges.providers.reply_gate import name_of
from autointerp.judges.providers.sdk_client import SdkClient
from autointerp.messages import Reply, Usage
from autointerp.redaction import hide_known
from autointerp.spec.sections import Judge as JudgeSettings

CLOCK_SKEW_S = 2 * 3600.0
"""The largest difference assumed between our clock and a provider's. It includes the hour of a daylight-saving change."""


class LLMBatches(ABC):
    """The batches of one account. All threads share one client. Subclasses name the SDK's resource and read its objects."""

    max_items: int
    max_bytes: int
    resource: ClassVar[str]
    """Where the SDK keeps its batch methods, such as `messages.batches`."""
    id_argument: ClassVar[str]
    """The argument by which those methods name a batch."""
    cursor_argument: ClassVar[str]
    """The argument of the list of batches that says after which batch a page begins."""
    page_size: ClassVar[int]
    """Batches per page of that list."""

    def __init__(self, settings: JudgeSettings, settle_s: float, client: SdkClient) -> None:
        """`settle_s`: how long after it began a submission may still arrive, in seconds."""
        self._settings = settings
        self._settle_s = settle_s
        self._client = client
        self._provider = client.provider.name

    def size(self, item: BatchItem) -> int:
        return len(encode(self._line(item)))

    def cancel(self, provider_id: str) -> None:
        answer = self._client.exchange(f"{self.resource}.cancel", **{self.id_argument: provider_id})
        if not (isinstance(answer, Failure) and answer.status in (400, 409)):  # it has ended already
            body_of(answer, f"batch {provider_id}")

    def close(self) -> None:
        self._client.close()

    @abstractmethod
    def _line(self, item: BatchItem) -> dict[str, Any]:
        """An item as it is submitted."""

    @abstractmethod
    def _created_at(self, batch: Mapping[str, Any]) -> float:
        """When a batch was created, in Unix seconds."""

    @abstractmethod
    def _read_result(self, line: Mapping[str, Any]) -> tuple[str, Reply | JudgeError]:
        """Custom id and outcome of one line of results. Raises `ValueError` for a line of another shape."""

    def _retrieve(self, provider_id: str) -> dict[str, Any]:
        answer = self._client.exchange(f"{self.resource}.retrieve", **{self.id_argument: provider_id})
        return body_of(answer, f"batch {provider_id}")

    def _created_since(self, moment: float) -> Iterator[dict[str, Any]]:
        """The account's batches that were created after `moment` less the clock skew, newest first."""
        cursor: dict[str, str] = {}
        while True:
            answer = self._client.exchange(f"{self.resource}.list", limit=self.page_size, **cursor)
            page = body_of(answer, "the list of batches")
            data = page.get("data")
            data = (
                [batch for batch in data if isinstance(batch, dict) and batch.get("id")]
                if isinstance(data, list)
                else []
            )
            for batch in data:
                if self._created_at(batch) < moment - CLOCK_SKEW_S:
                    return
                yield batch
            if not data or not page.get("has_more"):
                return
            cursor = {self.cursor_argument: data[-1]["id"]}

    def _read_lines(
        self, method: str, subject: str, **request: Any
    ) -> Generator[tuple[str, Reply | JudgeError], None, None]:
        """Custom id and outcome of each line of a results file, as it arrives. Raises `JudgeError` without usage."""
        errors = self._client.errors
        try:
            with self._client.stream(method, **request) as response:
                for line in json_lines(response.iter_bytes()):
                    yield self._read_result(line)
            return
        except errors.APIStatusError as error:
            failed = unbilled(self._client.failure_of(error), subject)
        except (errors.APIConnectionError, httpx2.HTTPError) as error:
            failed = unbilled(http.connection_outcome(self._provider, error, self._settings.timeout_s), subject)
        except self._client.base_error as error:
            failed = MayRetry(f"{self._provider} has no results of {subject}: {error_codes.redact(str(error))}")
        except ValueError as error:
            failed = MayRetry(f"{self._provider} sent broken results of {subject}: {error_codes.redact(str(error))}")
        raise failed  # outside of the handlers, so that no SDK exception is kept as its context


def accepted_id(answer: Answer) -> str:
    """The provider's id in the answer to a submission.

    Raises `MayRetry` with an unknown usage if the batch may have been accepted all the same, and `MustStop` if the provider refuses
    the batch as a whole.
    """
    if isinstance(answer, Failure):
        error = error_codes.outcome_of(answer)
        if isinstance(error, MayRetry):
            error.usage = Usage(known=False)
        raise MustStop(f"{error}: the whole batch was refused") if isinstance(error, ItemFailed) else error
    if isinstance(answer, JudgeError):
        raise answer
    provider_id = answer[0].get("id")
    if not isinstance(provider_id, str) or not provider_id or name_of(provider_id) != provider_id:
        raise MayRetry("the provider accepted the batch without naming it", usage=Usage(known=False))
    return provider_id


def body_of(answer: Answer, subject: str) -> dict[str, Any]:
    """The body of a request about `subject`, which is never billed. Raises the `JudgeError` of a failed request."""
    if isinstance(answer, tuple):
        return answer[0]
    raise unbilled(answer, subject)


def unbilled(answer: Failure | JudgeError, subject: str) -> JudgeError:
    """The error of a failed request about `subject`, which is never billed."""
    if isinstance(answer, Failure):
        if answer.status == 404:
            return MustStop(
                f"{error_codes.one_line(answer)}: {subject} is not visible to this API key: use the key it was made with"
            )
        return error_codes.outcome_of(answer)
    answer.usage = None
    return answer


def item_outcome(outcome: Reply | JudgeError) -> Reply | JudgeError:
    """The outcome of one item. A pause that was requested while the batch ran is over: only the item is retried."""
    return MayRetry(str(outcome)) if isinstance(outcome, MustWait) else outcome


def raise_if_undecided(arrived_by: float, n_running: int) -> None:
    """Raise `Undecided` if one of `n_running` batches may be the one sought, or if it may still arrive until `arrived_by`."""
    if n_running:
        raise Undecided(
            f"{n_running} running batches could be the one that was submitted: one of them has to end first"
        )
    wait = arrived_by - time.time()
    if wait > 0:
        raise Undecided(f"the submission may still arrive, for {wait:.0f} s")


def encode(value: Mapping[str, Any]) -> bytes:
    """A line of compact JSON in UTF-8. Raises `ItemFailed` if it holds what UTF-8 cannot."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    except UnicodeError:
        pass
    raise ItemFailed("the prompt holds characters that cannot be sent as UTF-8")


def json_lines(chunks: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file, one at a time. Raises `ValueError` at a line that is not a JSON object."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from map(_object, filter(bytes.strip, lines))
    if rest.strip():
        yield _object(rest)


def _object(line: bytes) -> dict[str, Any]:
    value = json.loads(hide_known(line.decode(errors="surrogateescape")))
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value
