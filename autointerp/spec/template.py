"""A template for specs: every key with its default and its meaning, as TOML."""

from __future__ import annotations

import textwrap
from typing import Any

import tomli_w
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from autointerp.spec.spec import Spec

PLACEHOLDERS: dict[str, Any] = {
    "model": "HuggingFaceTB/SmolLM2-135M",
    "path": "path/to/dictionary",
    "sources": ["text/*.txt"],
}


def template() -> str:
    """The whole spec as commented TOML. Required keys hold placeholders; optional ones are commented out."""
    lines = ["# A spec for autointerp. Values are defaults: remove every line that you do not change.", ""]
    lines += [_key(name, field) for name, field in Spec.model_fields.items() if not _section(field)]
    for name, field in Spec.model_fields.items():
        if section := _section(field):
            lines += _table(name, field, section)
    return "\n".join(lines)


def _table(name: str, field: FieldInfo, section: type[BaseModel]) -> list[str]:
    """The lines of a table and, after them, of the tables in it. Of an optional table only the head is written, as a comment."""
    optional = not field.is_required() and not field.default
    lines = ["", *_comment(field.description or section.__doc__ or ""), f"{'# ' if optional else ''}[{name}]"]
    if optional:
        return lines
    inside = {key: _section(inner) for key, inner in section.model_fields.items()}
    lines += [_key(inner.alias or key, inner) for key, inner in section.model_fields.items() if not inside[key]]
    for key, table in inside.items():
        lines += _table(f"{name}.{key}", section.model_fields[key], table) if table else []
    return lines


def _key(name: str, field: FieldInfo) -> str:
    value = PLACEHOLDERS[name] if field.is_required() else field.default
    known = value is not None
    written = (
        tomli_w.dumps({name: list(value) if isinstance(value, tuple) else value}).strip() if known else f"# {name} ="
    )
    return "\n".join([*_comment(field.description or ""), written])


def _comment(text: str) -> list[str]:
    return textwrap.wrap(" ".join(text.split()), 110, initial_indent="# ", subsequent_indent="# ")


def _section(field: FieldInfo) -> type[BaseModel] | None:
    options = [field.annotation, *getattr(field.annotation, "__args__", ())]
    return next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)
