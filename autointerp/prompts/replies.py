"""Reads the JSON object in a judge's reply."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from autointerp.records import Outcome


class ReplyUnusable(Exception):
    """A complete reply that does not answer the question. `outcome` is the outcome to record."""

    def __init__(self, reason: str, outcome: Outcome = Outcome.PARSE_FAILURE) -> None:
        super().__init__(reason)
        self.outcome = outcome


class RepeatedKey:
    """Takes the place of the value of a key that an object has more than once, because none of its values can be trusted."""

    def __repr__(self) -> str:
        return "given more than once"


def read_object(text: str) -> dict[str, Any]:
    """The only JSON object of a reply, with or without a code fence around it. A repeated key has a `RepeatedKey` as its value.

    Raises `ReplyUnusable`. Its messages may be quoted in the next attempt's prompt (`calls.answers.ask_again`) and so are part of
    that call's key: do not reword them.
    """
    body = re.sub(r"^```(?:json)?\s*|\s*```$", "", text.strip())
    if not body.startswith("{"):
        raise ReplyUnusable(f"the reply is not a JSON object: {body[:80]!r}")
    try:
        value, end = json.JSONDecoder(object_pairs_hook=_without_repeats).raw_decode(body)
    except (ValueError, RecursionError) as error:  # a number of 5000 digits, a thousand nested objects
        why = getattr(error, "msg", type(error).__name__)
        raise ReplyUnusable(f"the reply is not valid JSON ({why}): {body[:80]!r}") from None
    if body[end:].strip():
        raise ReplyUnusable(f"text follows the JSON object: {body[end : end + 80]!r}")
    return dict(value)


def _without_repeats(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        result[key] = RepeatedKey() if key in result else value
    return result
