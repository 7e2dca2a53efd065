"""The gate of batches: pydantic types that bound, clean and type what a provider says of a batch, as `reply_gate` does for replies."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Annotated

from pydantic import BeforeValidator, Field

from autointerp.judges.providers.reply_gate import (
    Count,
    Fields,
    Name,
    Object,
    Objects,
    Text,
    count_of,
    id_of,
)

METADATA_KEY = "autointerp_batch"
"""Where OpenAI keeps the batch key, in the batch's metadata."""
Id = Annotated[str, BeforeValidator(id_of)]
Items = Annotated[int, BeforeValidator(lambda value: count_of(value) or 0)]
"""A number of items: 0 if it is no count."""


class ProviderBatch(Fields):
    """A batch as its provider describes it. Without an `id` it is none that can be asked about."""

    id: Id = ""

    @property
    def created(self) -> float:
        """When it was created, in Unix seconds."""
        raise NotImplementedError


class _MessageCounts(Fields):
    processing: Items = 0
    succeeded: Items = 0
    errored: Items = 0
    canceled: Items = 0
    expired: Items = 0

    @property
    def total(self) -> int:
        return self.processing + self.succeeded + self.errored + self.canceled + self.expired


class MessageBatch(ProviderBatch):
    """A batch of Anthropic's."""

    processing_status: Name = ""
    created_at: Name = ""
    archived_at: Name = ""
    request_counts: Object[_MessageCounts] = _MessageCounts()

    @property
    def created(self) -> float:
        """When it was created, in Unix seconds; now if the provider states no time."""
        try:
            return datetime.fromisoformat(self.created_at).timestamp()
        except (ValueError, OverflowError, OSError):
            return time.time()


class _BatchCounts(Fields):
    total: Items = 0
    completed: Items = 0
    failed: Items = 0


class _Complaint(Fields):
    """An error of the validation of a batch's file."""

    code: Name = ""
    message: Text = ""
    line: Count = None


class _Complaints(Fields):
    data: Objects[_Complaint] = ()


class _Metadata(Fields):
    batch_key: Text = Field("", validation_alias=METADATA_KEY)


class OpenAIBatch(ProviderBatch):
    """A batch of OpenAI's."""

    status: Name = ""
    created_at: Items = 0
    request_counts: Object[_BatchCounts] = _BatchCounts()
    output_file_id: Id = ""
    error_file_id: Id = ""
    errors: Object[_Complaints] = _Complaints()
    metadata: Object[_Metadata] = _Metadata()

    @property
    def created(self) -> float:
        return float(self.created_at)
