"""The base of the spec's tables, and the sorts of fields that differ in its hash or between versions."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticUndefined


def setting(default: Any, **constraints: Any) -> Any:
    """A field that decides how a run is executed, not its result."""
    return Field(default, json_schema_extra={"setting": True}, **constraints)


def added(default: Any, *, before: Any = PydanticUndefined, **constraints: Any) -> Any:
    """A field that earlier versions lack. At the value `before` it stays out of the hash, so that their runs keep their names.

    `before` is the value by which a run does as earlier versions did; the default, if that changes nothing.
    """
    as_before = default if before is PydanticUndefined else before
    return Field(default, json_schema_extra={"before": as_before, "hidden": as_before}, **constraints)


def changed(default: Any, *, before: Any, **constraints: Any) -> Any:
    """A field whose default was `before` in earlier versions. Its value is always in the hash, as it was theirs."""
    return Field(default, json_schema_extra={"before": before}, **constraints)


class Section(BaseModel):
    """Base of the spec's tables. Unknown keys are errors, values are not coerced, and field docstrings are the reference."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)
