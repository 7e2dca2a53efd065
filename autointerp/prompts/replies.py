"""Reads the JSON object in a judge's reply."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from autointerp.records import Outcome

_TAG = r"think|thinking|thought|reasoning"
_REASONING = re.compile(rf".*?(</({_TAG})>|\[/THINK\]|<\|channel\|>final<\|message\|>)", re.DOTALL | re.IGNORECASE)
_REASONING_BEGINS = re.compile(rf"<({_TAG})>|\[THINK\]|<\|channel\|>", re.IGNORECASE)
_OBJECT_BEGINS = re.compile(r'\{\s*"')
"""The beginning of an object, as opposed to a brace in prose."""
_MOST_BLOCKS = 20
"""Blocks of reasoning that are passed over."""


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
    """The only JSON object of a reply. A repeated key has a `RepeatedKey` as its value.

    Reasoning between tags, a code fence, and sentences before or after the object are passed over. Raises `ReplyUnusable` if there is
    no object, and if it is not certain that the object is the answer: several differ, one is cut off, or it stands inside a sentence.
    Its messages may be quoted in the next attempt's prompt (`calls.answers.with_refusals`) and so are part of that call's key: do not
    reword them.
    """
    body = re.sub(r"^```(?:json)?\s*|\s*```$", "", _without_reasoning(text.strip()))
    found = list(_objects(body))
    if not found or (body.startswith("[") and body.endswith("]")):
        raise ReplyUnusable(f"the reply is not a JSON object: {body[:80]!r}")
    begin, end, value = found[0]
    if any(other != value for _, _, other in found):
        raise ReplyUnusable(f"the reply holds {len(found)} JSON objects that differ: {body[:80]!r}")
    before, after = body[:begin].rpartition("\n")[2], body[end:].partition("\n")[0]
    if before.strip(" \t`") not in ("", "json") and after.strip(" \t\r`"):
        raise ReplyUnusable(f"the JSON object stands inside a sentence: {body[:80]!r}")
    return value


def _without_reasoning(reply: str) -> str:
    """A reply without the reasoning that a model writes before its answer, if the server leaves it in the reply.

    The opening tag may be missing, because some chat templates put it into the prompt. Without a closing tag nothing is left.
    """
    for _ in range(_MOST_BLOCKS):
        block = None if reply.startswith(("{", "```")) else _REASONING.match(reply)
        if block is None:
            break
        reply = reply[block.end() :].strip()
    return "" if _REASONING_BEGINS.match(reply) else reply


def _objects(body: str) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Begin, end and value of every object that is not part of another. Raises `ReplyUnusable` for one that is cut off or malformed."""
    decoder = json.JSONDecoder(object_pairs_hook=_without_repeats)
    brace = re.match(r"\{", body) or _OBJECT_BEGINS.search(body)
    while brace:
        begin = brace.start()
        try:
            value, end = decoder.raw_decode(body, begin)
        except (ValueError, RecursionError) as error:  # a number of 5000 digits, a thousand nested objects
            why = getattr(error, "msg", type(error).__name__)
            raise ReplyUnusable(f"the reply is not valid JSON ({why}): {body[begin : begin + 80]!r}") from None
        yield begin, end, value
        brace = _OBJECT_BEGINS.search(body, end)


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
