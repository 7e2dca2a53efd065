"""A document as its column holds it: text, token ids or a conversation, told apart by the value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from sae.corpus.readers import no_field
from sae.corpus.text import LONGEST_DOCUMENT, too_long
from sae.errors import CorpusError


@dataclass(frozen=True)
class TokenIds:
    """A document as ids of a tokenizer that is still to be compared with the subject's."""

    ids: tuple[int, ...]
    where: str


@dataclass(frozen=True)
class Conversation:
    """Messages in order, each with `role` and `content`, for the subject's chat template."""

    messages: tuple[dict[str, str], ...]
    where: str


Document = str | TokenIds | Conversation
AnyDocument = TypeVar("AnyDocument", bound=Document)

MOST_DAMAGED = 0.005
"""Share of replacement and NUL characters above which a file's text counts as damaged."""
_FEWEST_DAMAGED = 10
_CHECKED_CHARS = 1 << 20
_ROLES = {
    **{role: role for role in ("user", "assistant", "system", "tool")},
    **dict.fromkeys(("human", "prompter"), "user"),
    **dict.fromkeys(("gpt", "bot", "chatgpt", "model", "ai"), "assistant"),
}
"""Customary names of roles, in lower case, and those that chat templates have. Other roles are left to the template."""
_DATA_STARTS = re.compile(r"""\s*(?:\[\s*(?:[\]{"'\[]|-?\d)|\{\s*["'])""")
_NUMBERS = re.compile(r"\s*-?\d[\d.]*(?:[\s,;]+-?\d[\d.]*)*[\s,;]*")


def document_of(record: Mapping[str, Any], field: str, where: str) -> Document:
    """The document in a record's field; empty text for a missing value. Raises `CorpusError`, naming the field, for other types
    and for documents above the limit of length."""
    if field not in record:
        raise no_field(where, field, list(record))
    value = record[field]
    if value is None:
        return ""
    if isinstance(value, dict) and value and all(isinstance(column, list) for column in value.values()):
        value = [dict(zip(value, row, strict=False)) for row in zip(*value.values(), strict=False)]
    document: Document
    if isinstance(value, str):
        document, size = value, len(value)
    elif isinstance(value, list) and all(type(i) is int for i in value):
        document, size = TokenIds(tuple(value), where), len(value)
    elif isinstance(value, list) and all(isinstance(message, dict) for message in value):
        messages = tuple(_message(message, field, where) for message in value)
        document, size = Conversation(messages, where), sum(len(m["content"]) for m in messages)
    else:
        kind = f"a list of {type(value[0]).__name__}" if isinstance(value, list) else type(value).__name__
        raise CorpusError(
            f"{where} field {field!r} holds {kind}, not text: set corpus.text_field to a field with text, token ids or messages"
        )
    if size > LONGEST_DOCUMENT:
        raise too_long(where)
    return document


def _message(message: dict[str, Any], field: str, where: str) -> dict[str, str]:
    """A message with `role` and `content`, from these keys or from ShareGPT's `from` and `value`."""
    role, content = message.get("role", message.get("from")), message.get("content", message.get("value"))
    calls_tool = any(message.get(key) for key in ("tool_calls", "function_call"))
    has_content = any(key in message for key in ("content", "value")) or calls_tool
    parts = content if isinstance(content, list) else [content or ""]
    texts = [_part(part) for part in parts]
    if not isinstance(role, str) or not has_content or None in texts:
        raise CorpusError(
            f"{where} field {field!r} holds messages without role and content that is text (keys:"
            f" {', '.join(map(str, message))}): give each message both, or set corpus.text_field to a field with text"
        )
    return {"role": _ROLES.get(role.lower(), role), "content": "".join(text for text in texts if text)}


def _part(part: object) -> str | None:
    """Text of a part of a message's content; empty for an image, a sound or a call of a tool; None if it holds its text elsewhere."""
    if isinstance(part, dict):
        text, kind = part.get("text"), part.get("type")
        return text if isinstance(text, str) else "" if isinstance(kind, str) and "text" not in kind else None
    return part if isinstance(part, str) else None


def check_texts_are_prose(documents: Iterable[Document], field: str, where: str) -> Iterator[Document]:
    """The documents of one table, unchanged. Raises `CorpusError` if its first five texts are JSON or numbers written as text."""
    texts = data = 0
    for document in documents:
        if texts < 5 and isinstance(document, str) and document:
            texts += 1
            data += _is_data(document)
            if data == 5:
                raise _data_as_text(field, where)
        yield document
    if texts and data == texts:
        raise _data_as_text(field, where)


def _is_data(text: str) -> bool:
    """Whether a text is one or more numbers, or a list or an object as JSON or Python writes it."""
    return bool(_NUMBERS.fullmatch(text) or (_DATA_STARTS.match(text) and text.rstrip()[-1] in "]}"))


def check_undamaged(documents: Iterable[AnyDocument], where: str) -> Iterator[AnyDocument]:
    """The documents of one source, unchanged. Raises `CorpusError` if too many characters are U+FFFD or NUL, which stand where a
    wrong decoding has lost a character."""
    chars = damaged = 0
    for document in documents:
        if isinstance(document, str):
            chars += len(document)
            damaged += document.count("\ufffd") + document.count("\0")
            if chars >= _CHECKED_CHARS:
                _check_damage(damaged, chars, where)
                chars = damaged = 0
        yield document
    _check_damage(damaged, chars, where)


def _check_damage(damaged: int, chars: int, where: str) -> None:
    if damaged >= _FEWEST_DAMAGED and damaged > MOST_DAMAGED * chars:
        raise CorpusError(
            f"{where} is damaged: {damaged:,} of {chars:,} characters are replacement or NUL characters, left by a wrong decoding;"
            " make it again from the source, in its own encoding"
        )


def _data_as_text(field: str, where: str) -> CorpusError:
    return CorpusError(
        f"{where} field {field!r} holds JSON or numbers written as text: make it a column of lists, or set corpus.text_field to"
        " a field with text"
    )
