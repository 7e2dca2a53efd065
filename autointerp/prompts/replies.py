"""Reads the JSON object in a judge's reply."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
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

    Raises `ReplyUnusable`. Its messages may be quoted in the next attempt's prompt (`calls.answers.with_refusals`) and so are part of
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


_NUMBER = re.compile(r"(?:(?:item|text)\s*)?0*([1-9]\d{0,3})", re.IGNORECASE)


def numbered_values(reply: Mapping[str, Any], n: int) -> list[Any]:
    """The values of the keys 1 to `n`, in order. A key may be written as "2", "02" or "item 2".

    Raises `ReplyUnusable` unless these are exactly the object's keys. A reply that is numbered from 0, or that skips an item and
    renumbers the rest, would give each item its neighbour's answer; one missing or additional key shows that this may have happened.
    """
    values: dict[int, Any] = {}
    for key, value in reply.items():
        number = int(match[1]) if (match := _NUMBER.fullmatch(key.strip())) else 0
        if not 1 <= number <= n or number in values or isinstance(value, RepeatedKey):
            raise ReplyUnusable(f"the reply has the key {key[:40]!r} besides, or twice among, the numbers 1 to {n}")
        values[number] = value
    if missing := [number for number in range(1, n + 1) if number not in values]:
        raise ReplyUnusable(f"the reply has no answer under {missing[0]}, of the numbers 1 to {n}")
    return [values[number] for number in range(1, n + 1)]


def _without_repeats(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        result[key] = RepeatedKey() if key in result else value
    return result
