"""The interface to providers' batch APIs: many questions submitted at once, at half the price, answered within a day in any order.

An accepted batch is processed and billed in any case, so a batch must never be submitted twice. The submitter therefore first writes
the batch key, the items and the time to the ledger. If the answer to `submit` is lost (the process died, or `MayRetry` with an unknown
usage was raised), `find` looks for the batch at the provider:

- OpenAI stores the batch key in the batch's metadata, which identifies it.
- Anthropic stores nothing of ours except the items' custom ids, and shows those only after a batch has ended. A batch is a candidate if it
  has the right size, was created at about the right time, and is unknown to the ledger. The custom ids of an ended candidate show whether
  it is the right one. A single running candidate is assumed to be ours; with several, `find` raises `Undecided` until they end. If the
  assumption was wrong, the results show it: their custom ids begin with the key of another batch, and are stored for that batch.
- A submission may still arrive until `settle_s` after it began. Until then a search without a result raises `Undecided`; afterwards it
  returns None.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from autointerp.judges.base import JudgeError, MayRetry
from autointerp.messages import Prompt, Reply

SUBMIT_S = 600.0
"""Minimum time limit, in seconds, to upload a batch and have it accepted."""

_KEY_CHARS = 16
_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class Unanswered(JudgeError):
    """The provider did not process this item (it expired, or was cancelled with its batch): nothing is billed, ask again."""


class UnreadableResults(MayRetry):
    """Some lines of a batch's results cannot be read; all others have been. Read them again: the file may have been cut off on its way."""


class Undecided(JudgeError):
    """It is not known yet whether a batch was accepted: submit nothing, look again later."""


@dataclass(frozen=True)
class BatchItem:
    """One question of a batch. `custom_id` begins with `id_prefix` of the batch key; it is unique in its batch."""

    custom_id: str
    prompt: Prompt

    def __post_init__(self) -> None:
        if not _CUSTOM_ID.fullmatch(self.custom_id):
            raise ValueError(f"custom_id {self.custom_id!r} is not 1 to 64 of a-z, A-Z, 0-9, _ and -")


def id_prefix(batch_key: str) -> str:
    """How the custom ids of a batch's items begin: it identifies the batch in its results."""
    return f"{batch_key[:_KEY_CHARS]}-"


@dataclass(frozen=True)
class BatchStatus:
    """The state of a batch at its provider.

    `running`: poll again later. `ended`, `expired` and `cancelled`: `results` returns the items that were answered, and the
    others are not billed. `failed`: there are no results, and `failure` says what to do (`MustWait`, `MayRetry`: submit the items
    again later; `MustStop`: they would fail again). The counts may stay 0 while it runs.
    """

    state: Literal["running", "ended", "expired", "cancelled", "failed"]
    total: int = 0
    succeeded: int = 0
    errored: int = 0
    reason: str = ""
    failure: JudgeError | None = None


class BatchProvider(Protocol):
    """The batch API of one provider. Every method except `size` sends one or a few requests without retries and raises `JudgeError`.

    The requests of `poll`, `results`, `find` and `cancel` are never billed: their errors carry no usage.
    """

    max_items: int
    """Maximum number of items in a batch."""
    max_bytes: int
    """Maximum sum of their `size`."""

    def size(self, item: BatchItem) -> int:
        """Bytes of `item` in a batch. Raises `ItemFailed` for a prompt that cannot be sent: leave it out."""
        ...

    def submit(self, batch_key: str, items: Sequence[BatchItem]) -> str:
        """Submit a batch and return the provider's id of it.

        Raises `MayRetry` with an unknown usage if it is unknown whether the batch was accepted: call `find` then. After any other error it
        was not accepted.
        """
        ...

    def find(self, batch_key: str, n_items: int, since: float, known: Collection[str]) -> str | None:
        """The provider's id of a batch whose `submit` began at `since` (Unix seconds) and whose answer was lost.

        `known` holds the provider's ids that the ledger has already. Returns None if the batch was not accepted: submit it. Raises
        `Undecided` as long as neither is certain.
        """
        ...

    def poll(self, provider_id: str) -> BatchStatus:
        """The batch's state."""
        ...

    def results(self, provider_id: str) -> Iterator[tuple[str, Reply | JudgeError]]:
        """Custom id and outcome of each item, in any order, read from the network as they are consumed.

        Items that are `Unanswered` or missing were not billed and can be asked again. Raises `MayRetry` if reading fails: read again
        from the start. Raises `UnreadableResults` after all others if lines cannot be read: missing items may then be billed.
        """
        ...

    def cancel(self, provider_id: str) -> None:
        """Ask the provider to stop a batch, which stays `running` until it has stopped. A batch that has ended is left as it is."""
        ...

    def close(self) -> None:
        """Close its connections."""
        ...
