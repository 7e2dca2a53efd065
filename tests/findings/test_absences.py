"""Every value of a summary that can be null has a rule for its reason, and every null value of a summary has the reason beside it."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Any, Union

import pytest

from autointerp.findings.absences import RULES, STATEMENTS
from autointerp.findings.summary import Summary
from autointerp.stats.estimates import Part


def types_in(annotation: Any) -> Iterator[Any]:
    yield annotation
    for inner in typing.get_args(annotation):
        yield from types_in(inner)


def parts(root: type[Part]) -> set[type[Part]]:
    """All parts of a summary."""
    found: set[type[Part]] = set()
    open_ = [root]
    while open_:
        part = open_.pop()
        if part not in found:
            found.add(part)
            fields = part.model_fields.values()
            open_ += [t for f in fields for t in types_in(f.annotation) if isinstance(t, type) and issubclass(t, Part)]
    return found


def can_be_null(annotation: Any) -> bool:
    return any(
        typing.get_origin(t) in (Union, types.UnionType) and type(None) in typing.get_args(t)
        for t in types_in(annotation)
    )


@pytest.mark.parametrize("part", sorted(parts(Summary), key=lambda part: part.__name__), ids=lambda part: part.__name__)
def test_every_field_that_can_be_null_has_a_reason(part: type[Part]) -> None:
    fields = {name for name, field in part.model_fields.items() if can_be_null(field.annotation)} - {*STATEMENTS}
    rules = RULES.get(part, {})
    assert fields >= rules.keys() or set(rules) <= set(part.model_fields), "a rule for a field that is not there"
    if "why" not in part.model_fields:
        assert fields <= rules.keys()
