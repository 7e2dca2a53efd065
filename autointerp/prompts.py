"""Hostile text made harmless for a prompt: windows are fenced, marks cannot be forged, control characters are visible."""

from __future__ import annotations

import json
import re
from typing import Any

from autointerp.judges.base import MarkedText
from autointerp.records import Outcome

OPEN_MARK, CLOSE_MARK = "<<", ">>"
_FORGED = str.maketrans({"<": "\uff1c", ">": "\uff1e", "/": "\uff0f"})
_CONTROL = {c: chr(0x2400 + c) for c in range(32) if c not in (9, 10)} | {0x7F: "\u2421"}
_SURROGATE = re.compile("[\ud800-\udfff]")
_TAG = r"(?:text|explanation|activating|silent)\b"
_MARKS = re.compile("<<|>>")
_FENCE = re.compile(rf"<(?=[^\w<>]*{_TAG})", re.IGNORECASE)
_LEFT = re.compile(rf"^(?:[<>]+|[^\w<>]*/(?=[^\w<>]*{_TAG}))", re.IGNORECASE)
_RIGHT = re.compile(r"[<>]+$")


class ReplyUnusable(Exception):
    """A complete reply that does not answer the question; `outcome` says how it is recorded."""

    def __init__(self, reason: str, outcome: Outcome = Outcome.PARSE_FAILURE) -> None:
        super().__init__(reason)
        self.outcome = outcome


def harmless(text: str) -> str:
    """Text that can neither close a fence nor forge a mark: those characters become their full-width twins."""
    text = _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text.translate(_CONTROL))
    return _forged(_FENCE, _forged(_MARKS, text))


def show(window: MarkedText) -> str:
    """The window as a judge reads it, the marked token between `<<` and `>>`.

    Brackets that touch a mark are replaced too: they would lengthen it, or make a fence with it.
    """
    before = harmless("".join(window.tokens[: window.mark]))
    marked = harmless(window.tokens[window.mark])
    after = harmless("".join(window.tokens[window.mark + 1 :]))
    return f"{_forged(_RIGHT, before)}{OPEN_MARK}{_forged(_RIGHT, _forged(_LEFT, marked))}{CLOSE_MARK}{_forged(_LEFT, after)}"


def _forged(pattern: re.Pattern[str], text: str) -> str:
    return pattern.sub(lambda found: found[0].translate(_FORGED), text)


def read_object(text: str) -> dict[str, Any]:
    """The one JSON object of a reply, with or without a code fence around it. Raises `ReplyUnusable`."""
    body = re.sub(r"^```(?:json)?\s*|\s*```$", "", text.strip())
    if not body.startswith("{"):
        raise ReplyUnusable(f"the reply is not a JSON object: {body[:80]!r}")
    try:
        value, end = json.JSONDecoder().raw_decode(body)
    except (ValueError, RecursionError) as error:  # a number of 5000 digits, a thousand nested objects
        why = getattr(error, "msg", type(error).__name__)
        raise ReplyUnusable(f"the reply is not valid JSON ({why}): {body[:80]!r}") from None
    if body[end:].strip():
        raise ReplyUnusable(f"text follows the JSON object: {body[end : end + 80]!r}")
    return dict(value)
