"""Reads a judge's reply: one JSON object, each key once."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from autointerp.records import Outcome


class ReplyUnusable(Exception):
    """A complete reply that does not answer the question; `outcome` says how it is recorded."""

    def __init__(self, reason: str, outcome: Outcome = Outcome.PARSE_FAILURE) -> None:
        super().__init__(reason)
        self.outcome = outcome


class Repeated:
    """Stands for the value of a key that a reply gives more than once: it has none."""

    def __repr__(self) -> str:
        return "given more than once"


def read_object(text: str) -> dict[str, Any]:
    """The one JSON object of a reply, with or without a code fence around it. Raises `ReplyUnusable`.

    The value of a key that an object gives more than once is `Repeated`.
    """
    body = re.sub(r"^```(?:json)?\s*|\s*```$", "", text.strip())
    if not body.startswith("{"):
        raise ReplyUnusable(f"the reply is not a JSON object: {body[:80]!r}")
    try:
        value, end = json.JSONDecoder(object_pairs_hook=_once).raw_decode(body)
    except (ValueError, RecursionError) as error:  # a number of 5000 digits, a thousand nested objects
        why = getattr(error, "msg", type(error).__name__)
        raise ReplyUnusable(f"the reply is not valid JSON ({why}): {body[:80]!r}") from None
    if body[end:].strip():
        raise ReplyUnusable(f"text follows the JSON object: {body[end : end + 80]!r}")
    return dict(value)


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        found[key] = Repeated() if key in found else value
    return found
