"""Batches: many questions handed to a provider at once, for half the price, answered within a day in any order.

Every accepted batch is worked off and billed, so the one thing that must not happen is to submit it twice. Whoever
submits writes the batch key, the items and the moment to the ledger first. Where the answer to `submit` is lost (its
process died, or `MayRetry` with an unknown usage was raised), `find` says whether the provider has the batch:

- OpenAI keeps the batch key in the batch's metadata, which is proof.
- Anthropic keeps nothing of ours but the items' custom ids, and shows those only once a batch has ended. A batch of
  the right size from around the right moment that the ledger does not know is a candidate. One that has ended proves
  by its ids whose it is. While it runs, a single candidate is taken for ours; of several, nobody can tell, and
  `Undecided` asks to wait until they end. A wrongly taken batch shows itself in its results: their custom ids begin
  with another batch's key, and count for that batch.
- Nothing found proves nothing while the submission could still be under way, so `find` is `Undecided` until `settle_s`
  after it began, and says None only then.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from autointerp.judges import error_codes
from autointerp.judges.base import ItemFailed, JudgeError, MayRetry, MustStop, MustWait
from autointerp.messages import Prompt, Reply, Usage

if TYPE_CHECKING:
    pass

SUBMIT_S = 600.0
"""Seconds to upload a batch and have it accepted, at least."""
CLOCKS_S = 2 * 3600.0
"""Our clock and a provider's differ by less than this, an hour's jump included."""

_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class Unanswered(JudgeError):
    """The provider let this item lie (it expired, or was cancelled with its batch): nothing is billed, ask again."""


class Undecided(JudgeError):
    """Nobody can tell yet whether a batch was accepted: submit nothing, ask again later."""


@dataclass(frozen=True)
class BatchItem:
    """One question of a batch. `custom_id` is the first 16 characters of the batch key, `-` and a number."""

    custom_id: str
    prompt: Prompt

    def __post_init__(self) -> None:
        if not _CUSTOM_ID.fullmatch(self.custom_id):
            raise ValueError(f"custom_id {self.custom_id!r} is not 1 to 64 of a-z, A-Z, 0-9, _ and -")


@dataclass(frozen=True)
class BatchStatus:
    """Where a batch stands.

    `running`: ask again. `ended`, `expired` and `cancelled`: `results` has what was answered, and what it does not have
    was not billed. `failed`: there are no results, and `failure` says what that means (`MustWait`, `MayRetry`: submit
    the items anew, later; `MustStop`: they would fail again). Counts may stay 0 while it runs.
    """

    state: Literal["running", "ended", "expired", "cancelled", "failed"]
    total: int = 0
    succeeded: int = 0
    errored: int = 0
    reason: str = ""
    failure: JudgeError | None = None


class BatchProvider(Protocol):
    """One provider's batch API. Every method but `size` is one or a few requests without retries, and raises `JudgeError`.

    What `poll`, `results`, `find` and `cancel` raise never bills anything: their errors carry no usage.
    """

    most_items: int
    """Items of one batch at most."""
    most_bytes: int
    """Sum of its items' `size` at most."""

    def size(self, item: BatchItem) -> int:
        """Bytes that `item` takes up in a batch. Raises `ItemFailed` for a prompt that cannot be sent: leave it out."""
        ...

    def submit(self, batch_key: str, items: Sequence[BatchItem]) -> str:
        """Hand in a batch; returns the provider's id of it.

        Where it cannot be known whether it was accepted, raises `MayRetry` with an unknown usage: call `find`. Any
        other error means that it was not.
        """
        ...

    def find(self, batch_key: str, n_items: int, since: float, known: Collection[str]) -> str | None:
        """The provider's id of a batch whose `submit` began at `since` (Unix seconds) and had no answer.

        `known` holds the provider ids that the ledger has already. None: it was not accepted, submit it. Raises
        `Undecided` while that is in doubt.
        """
        ...

    def poll(self, provider_id: str) -> BatchStatus:
        """Where the batch stands."""
        ...

    def results(self, provider_id: str) -> Iterator[tuple[str, Reply | JudgeError]]:
        """Custom id and outcome of each item, in any order, read from the network as it is consumed.

        `Unanswered` items, and those that are missing, go back to pending unbilled. Raises `MayRetry` where the
        reading breaks off: read again from the start.
        """
        ...

    def cancel(self, provider_id: str) -> None:
        """Ask for the batch to stop; it stays `running` until it has. One that has ended already is left as it is."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...


Answer = tuple[dict[str, Any], dict[str, str]] | error_codes.Failure | JudgeError


def accepted(answer: Answer) -> str:
    """The id of what a request made.

    Raises `MayRetry` with an unknown usage where it may have been made all the same, and `MustStop` where the provider
    refuses the batch as such.
    """
    if isinstance(answer, error_codes.Failure):
        error = error_codes.outcome_of(answer)
        if isinstance(error, MayRetry):
            error.usage = Usage(known=False)
        raise MustStop(f"{error}: the whole batch was refused") if isinstance(error, ItemFailed) else error
    if isinstance(answer, JudgeError):
        raise answer
    made = answer[0].get("id")
    if not isinstance(made, str) or not made:
        raise MayRetry("the provider accepted something without naming it", usage=Usage(known=False))
    return made


def told(answer: Answer, what: str) -> dict[str, Any]:
    """The body of a question about `what`, which bills nothing. Raises the `JudgeError` that the answer stands for."""
    if isinstance(answer, tuple):
        return answer[0]
    raise unbilled(answer, what)


def unbilled(answer: error_codes.Failure | JudgeError, what: str) -> JudgeError:
    """The error of a question about `what`."""
    if isinstance(answer, error_codes.Failure):
        if answer.status == 404:
            return MustStop(
                f"{error_codes.one_line(answer)}: {what} is not visible to this API key: use the key it was made with"
            )
        return error_codes.outcome_of(answer)
    answer.usage = None
    return answer


def in_line(outcome: Reply | JudgeError) -> Reply | JudgeError:
    """An item's outcome. A pause that was asked for while the batch ran is over: the item alone is to be tried again."""
    return MayRetry(str(outcome)) if isinstance(outcome, MustWait) else outcome


def encode(value: Mapping[str, Any]) -> bytes:
    """A line of compact JSON in UTF-8. Raises `ItemFailed` where it holds what UTF-8 cannot."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    except UnicodeError:
        pass
    raise ItemFailed("the prompt holds characters that cannot be sent as UTF-8")


def json_lines(chunks: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file, one at a time. Raises `ValueError` at a line that is not a JSON object."""
    held = b""
    for chunk in chunks:
        *lines, held = (held + chunk).split(b"\n")
        yield from map(_object, filter(bytes.strip, lines))
    if held.strip():
        yield _object(held)


def undecided_until(settled: float, found: int) -> Undecided | None:
    """The doubt that is left where `found` batches could be the one sought: None once there is none."""
    if found:
        return Undecided(f"{found} running batches could be the one that was submitted: one of them has to end first")
    wait = settled - time.time()
    return Undecided(f"the submission may still arrive, for {wait:.0f} s") if wait > 0 else None


def _object(line: bytes) -> dict[str, Any]:
    value = json.loads(line)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value
