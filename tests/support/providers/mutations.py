"""Replies of the three protocols in which fields were replaced, removed or repeated, for fuzzing."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from . import protocols as wire
from .server import Entry

PROTOCOLS = tuple(wire.BODIES)
_ODD_NUMBERS = (0, -1, 1.5, 12.0, 2**31, 3_000_000_000, 2**63, 10**30, float("nan"), float("inf"), float("-inf"), 1e300)
_ODD_TEXTS = ("", "12", "\0", "\ud83d", "x" * 300, "error", "stop", "null", "NaN", "abort", "\x1b[31m", "漢" * 200)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(_ODD_NUMBERS),
    st.sampled_from(_ODD_TEXTS),
    st.text(st.characters(), max_size=8),
    st.integers(),
    st.floats(),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
)


def valid_body(protocol: str, fault: str | None = None, text: str = '{"grade": 2}') -> wire.Json:
    """A reply as the provider sends it, with every field of its usage, and with probabilities."""
    entry = Entry(0, protocol, "", 0, fault, 200, True, True, 120, 15, 30, 50)
    tokens = None if protocol == "anthropic" else wire.logprobs("2", {"2": 0.6, "3": 0.4})
    return wire.BODIES[protocol]("the-model", text, fault, entry, tokens)


@st.composite
def mutated(draw: st.DrawFn, body: wire.Json) -> wire.Json:
    """A copy of a body of which one to four fields were changed."""
    body = copy.deepcopy(body)
    for _ in range(draw(st.integers(1, 4))):
        places = list(_places(body))
        if not places:
            break
        holder, key = draw(st.sampled_from(places))
        change = draw(st.sampled_from(("replace", "replace", "remove", "wrap", "repeat")))
        if change == "replace":
            holder[key] = draw(values)
        elif change == "remove":
            del holder[key]
        elif change == "wrap":
            holder[key] = [holder[key]]
        else:
            holder[key] = [holder[key], copy.deepcopy(holder[key])]
    return body


@st.composite
def mutated_bodies(draw: st.DrawFn, protocol: str) -> wire.Json:
    """A valid reply, a refused one, a truncated one or an error, mutated."""
    fault = draw(st.sampled_from((None, None, None, "refusal", "truncated", "overloaded")))
    body = wire.overloaded_body(protocol) if fault == "overloaded" else valid_body(protocol, fault)
    return draw(mutated(body))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place within a JSON value, as the object or list that holds it and its key or index."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])
