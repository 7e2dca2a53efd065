"""The gate of replies: pydantic types that bound, clean and type every field that a provider or gateway sends.

No content of a field raises: text that is none is empty, a name is cut at `MAX_NAME`, an object of another type has no fields, and a
token count that is no whole number from 0 to `MAX_COUNT` is None, which makes the usage of the reply unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

from autointerp.messages import Usage, clean_text

T = TypeVar("T")

MAX_NAME = 128
"""Most characters of a model's name, a request id or a batch id: the width of the ledger's columns."""
MAX_COUNT = 2**31 - 1
"""Largest token count that is believed: the largest integer of the ledger's columns, and far above any context."""


def text_of(value: Any) -> str:
    """A string without characters that a database rejects; an empty one for a value of any other type."""
    return clean_text(value) if isinstance(value, str) else ""


def name_of(value: Any) -> str:
    """A name on one printable line of at most `MAX_NAME` characters; a number counts as its digits, any other type as no name."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(count_of(value) or "")
    name = "".join(character if character.isprintable() else "?" for character in text_of(value)[: MAX_NAME + 1])
    return name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…"


def id_of(value: Any) -> str:
    """An id by which a provider can be asked again: it is used unchanged, or not at all (an empty text)."""
    return value if isinstance(value, str) and name_of(value) == value else ""


def count_of(value: Any) -> int | None:
    """A whole number from 0 to `MAX_COUNT`, or None: negative, NaN, infinite and fractional numbers, text and booleans are no counts."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_COUNT:
        return None
    return int(value) if value == int(value) else None


def _object(value: Any) -> Any:
    return value if isinstance(value, Mapping | BaseModel) else {}


def _objects(value: Any) -> list[Any]:
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []


def _parts(value: Any) -> list[Any]:
    """The parts of a message's content, which is plain text, or a list of parts and texts."""
    entries = value if isinstance(value, list) else [value]
    return _objects([{"type": "text", "text": entry} if isinstance(entry, str) else entry for entry in entries])


Text = Annotated[str, BeforeValidator(text_of)]
Name = Annotated[str, BeforeValidator(name_of)]
Count = Annotated[int | None, BeforeValidator(count_of)]
OptionalCount = Annotated[int | None, BeforeValidator(lambda value: 0 if value is None else count_of(value))]
"""A count that is 0 if it is missing or null."""


Object = Annotated[T, BeforeValidator(_object)]
"""An object; one without fields in the place of any other type."""
Objects = Annotated[tuple[T, ...], BeforeValidator(_objects)]
"""The objects of a list; none in the place of any other type."""


class Fields(BaseModel):
    """An object of a reply. Fields that are not named are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Part(Fields):
    """A part of a message's content. `logprobs` is read by `messages.first_token_probabilities`, which takes any value."""

    type: Name = ""
    text: Text = ""
    refusal: Text = ""
    logprobs: Any = None


Parts = Annotated[tuple[Part, ...], BeforeValidator(_parts)]


def joined(parts: tuple[Part, ...], *types: str) -> str:
    """The text of all parts of the given types."""
    return "".join(part.text for part in parts if part.type in types)


class _MessageUsage(Fields):
    input_tokens: Count = None
    output_tokens: Count = None
    cache_creation_input_tokens: OptionalCount = 0
    cache_read_input_tokens: OptionalCount = 0

    def usage(self) -> Usage:
        """Anthropic's counts are disjoint: `input_tokens` excludes tokens read from the cache or written to it."""
        return usage_of(
            self.input_tokens, self.output_tokens, self.cache_creation_input_tokens, self.cache_read_input_tokens
        )


class _InputDetails(Fields):
    cached_tokens: OptionalCount = 0
    cache_write_tokens: OptionalCount = 0


class _OpenAIUsage(Fields):
    input_tokens: Count = Field(None, validation_alias=AliasChoices("input_tokens", "prompt_tokens"))
    output_tokens: Count = Field(None, validation_alias=AliasChoices("output_tokens", "completion_tokens"))
    details: Object[_InputDetails] = Field(
        _InputDetails(), validation_alias=AliasChoices("input_tokens_details", "prompt_tokens_details")
    )

    def usage(self) -> Usage:
        """OpenAI's counts made disjoint: its input count includes tokens read from the cache and written to it."""
        read, written = self.details.cached_tokens, self.details.cache_write_tokens
        if self.input_tokens is None or read is None or written is None:
            return Usage(known=False)
        return usage_of(self.input_tokens - read - written, self.output_tokens, written, read)


def usage_of(input_: int | None, output: int | None, written: int | None, read: int | None) -> Usage:
    """The usage of four disjoint counts. It is unknown if one is missing or negative, or if all of the input is 0."""
    if input_ is None or output is None or written is None or read is None:
        return Usage(known=False)
    known = min(input_, output) >= 0 and input_ + written + read > 0
    return Usage(input_, output, written, read) if known else Usage(known=False)


class _StopDetails(Fields):
    category: Name = ""
    explanation: Text = ""


class MessageBody(Fields):
    """A reply of Anthropic's Messages."""

    model: Name = ""
    content: Parts = ()
    stop_reason: Name = ""
    stop_details: Object[_StopDetails] = _StopDetails()
    usage: Object[_MessageUsage] = _MessageUsage()


class _Incomplete(Fields):
    reason: Name = ""


class _OutputItem(Fields):
    type: Name = ""
    content: Parts = ()


class ResponseBody(Fields):
    """A reply of OpenAI's Responses."""

    model: Name = ""
    status: Name = ""
    incomplete_details: Object[_Incomplete] = _Incomplete()
    output: Objects[_OutputItem] = ()
    usage: Object[_OpenAIUsage] = _OpenAIUsage()

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts of its messages."""
        return tuple(part for item in self.output if item.type == "message" for part in item.content)


class _Message(Fields):
    content: Parts = ()
    refusal: Text = ""


class _Logprobs(Fields):
    content: Any = None


class _Choice(Fields):
    finish_reason: Name = ""
    message: Annotated[_Message | None, BeforeValidator(lambda value: _object(value) or None)] = None
    logprobs: Object[_Logprobs] = _Logprobs()
    error: Any = None


class CompletionBody(Fields):
    """A reply of Chat Completions."""

    id: Name = ""
    model: Name = ""
    choices: Objects[_Choice] = ()
    usage: Object[_OpenAIUsage] = _OpenAIUsage()
