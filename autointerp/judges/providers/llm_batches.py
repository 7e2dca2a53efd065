"""What the batch APIs of all providers share: sizes, polling, paging, cancelling and reading results line by line."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Generic, TypeVar

import httpx2

from autointerp.judges import error_codes
from autointerp.judges.base import ItemFailed, JudgeError, MayRetry, MustStop, MustWait
from autointerp.judges.batch_api import BatchItem, BatchStatus, Unanswered, Undecided, UnreadableResults
from autointerp.judges.error_codes import Answer, Failure
from autointerp.judges.providers import http
from autointerp.judges.providers.batch_gate import ProviderBatch
from autointerp.judges.providers.reply_gate import MAX_NAME, id_of
from autointerp.judges.providers.sdk_client import SdkClient
from autointerp.messages import Reply, Usage
from autointerp.redaction import hide_known
from autointerp.spec.judge_sections import Judge as JudgeSettings

B = TypeVar("B", bound=ProviderBatch)
CLOCK_SKEW_S = 2 * 3600.0
"""The largest difference assumed between our clock and a provider's. It includes the hour of a daylight-saving change."""


class LLMBatches(ABC, Generic[B]):
    """The batches of one account. All threads share one client. Subclasses name the SDK's resource and read its objects."""

    max_items: int
    max_bytes: int
    batch_type: type[B]
    """What the provider says of a batch."""
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

    def poll(self, provider_id: str) -> BatchStatus:
        return self._status(self._retrieve(provider_id))

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
    def _status(self, batch: B) -> BatchStatus:
        """The state of a batch."""

    @staticmethod
    @abstractmethod
    def read_result(line: Mapping[str, Any]) -> tuple[str, Reply | JudgeError]:
        """Custom id and outcome of one line of results. Raises `ValueError` for a line of another shape."""

    def _retrieve(self, provider_id: str) -> B:
        answer = self._client.exchange(f"{self.resource}.retrieve", **{self.id_argument: provider_id})
        return self.batch_type.model_validate(body_of(answer, f"batch {provider_id}") | {"id": provider_id})

    def _created_since(self, moment: float) -> Iterator[B]:
        """The account's batches that were created after `moment` less the clock skew, newest first."""
        cursor: dict[str, str] = {}
        seen: set[str] = set()
        while True:
            answer = self._client.exchange(f"{self.resource}.list", limit=self.page_size, **cursor)
            page = body_of(answer, "the list of batches")
            data = page.get("data")
            listed = (
                [self.batch_type.model_validate(batch) for batch in data if isinstance(batch, Mapping)]
                if isinstance(data, list)
                else []
            )
            new = [batch for batch in listed if batch.id and batch.id not in seen]
            for batch in new:
                if batch.created < moment - CLOCK_SKEW_S:
                    return
                yield batch
            if not new or not page.get("has_more"):
                return
            seen |= {batch.id for batch in new}
            cursor = {self.cursor_argument: new[-1].id}

    def _read_lines(
        self, method: str, subject: str, **request: Any
    ) -> Generator[tuple[str, Reply | JudgeError], None, None]:
        """Custom id and outcome of each line of a results file, as it arrives. Raises `JudgeError` without usage.

        A line that cannot be read is left out; after the last line, `UnreadableResults` is raised for it.
        """
        errors = self._client.errors
        failed: JudgeError | None = None
        try:
            with self._client.stream(method, **request) as response:
                for line in lines_of(response.iter_bytes()):
                    try:
                        result = self.read_result(object_in(line))
                    except (ValueError, RecursionError) as error:
                        failed = failed or self._unreadable(subject, error)
                        continue
                    yield result
        except errors.APIStatusError as error:
            failed = unbilled(self._client.failure_of(error), subject)
        except (errors.APIConnectionError, httpx2.HTTPError) as error:
            failed = unbilled(http.connection_outcome(self._provider, error, self._settings.timeout_s), subject)
        except self._client.base_error as error:
            failed = MayRetry(f"{self._provider} has no results of {subject}: {error_codes.redact(str(error))}")
        except ValueError as error:
            failed = self._unreadable(subject, error)
        if failed is not None:
            raise failed  # outside of the handlers, so that no SDK exception is kept as its context

    def _unreadable(self, subject: str, error: Exception) -> UnreadableResults:
        return UnreadableResults(f"{self._provider} sent broken results of {subject}: {error_codes.redact(str(error))}")


def accepted_id(answer: Answer) -> str:
    """The provider's id in the answer to a submission.

    Raises `MayRetry` with an unknown usage if the batch may have been accepted all the same, and `MustStop` if the provider refuses
    the batch as a whole, or, with an unknown usage, names it by an id under which it cannot be asked for.
    """
    if isinstance(answer, Failure):
        error = error_codes.outcome_of(answer)
        if isinstance(error, MayRetry):
            error.usage = Usage(known=False)
        raise MustStop(f"{error}: the whole batch was refused") if isinstance(error, ItemFailed) else error
    if isinstance(answer, JudgeError):
        raise answer
    named = answer[0].get("id")
    if not named:
        raise MayRetry("the provider accepted the batch without naming it", usage=Usage(known=False))
    provider_id = id_of(named)
    if not provider_id:
        raise MustStop(
            f"the provider named the batch {error_codes.redact(str(named))!r}, which is no id of at most {MAX_NAME}"
            " printable characters: check judge.base_url",
            usage=Usage(known=False),
        )
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


def failed_item(provider: str, error: Any, status: int | None = None) -> Reply | JudgeError:
    """The outcome of an item whose result is an error object."""
    message = error_codes.message_of(error) or "no answer and no error"
    return item_outcome(error_codes.outcome_of(Failure(provider, status, error_codes.codes_of(error), message)))


def unanswered(provider: str, why: str) -> Unanswered:
    """The outcome of an item that the provider did not process."""
    return Unanswered(f"{provider} did not answer this item of a batch: {why}")


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


def lines_of(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a file that are not blank, one at a time. Raises `ValueError` at a line longer than the largest reply."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from filter(bytes.strip, lines)
        if len(rest) > http.MAX_BODY:
            raise ValueError(f"a line is longer than {http.MAX_BODY // 2**20} MiB")
    if rest.strip():
        yield rest


def object_in(line: bytes) -> dict[str, Any]:
    """The JSON object in a line. Raises `ValueError` or `RecursionError` if it holds none."""
    value = json.loads(hide_known(line.decode(errors="surrogateescape")))
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value
