"""docs/spec.md and docs/spec.schema.json, from the fields of the spec and their docstrings."""

from __future__ import annotations

import json
import tomllib
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from autointerp.spec import section, spec
from pages.markdown import MARK, one_line, row

EXAMPLE = """\
name = "layer-12"

[subject]
model = "google/gemma-2-2b"

[dictionary]
path = "google/gemma-scope-2b-pt-res/layer_12/width_16k/average_l0_82"
hook_point = "resid_post.12"

[corpus]
sources = ["text/*.jsonl"]

[judge]
model = "anthropic/claude-haiku-4-5"

[budget]
usd = 20.0
"""

STUDIES = """\
[studies.neighbours]
minimum = 8

[[studies.steer]]
units = ["feature-641"]
prompts = ["I think that", "The best way to"]
factors = [-2, 2, 5]

[[studies.steer]]
units = ["feature-12"]
prompts = ["I think that"]
"""

INTRO = f"""\
# Spec reference

A spec is a TOML file that says what to evaluate, with what, and how. Three tables have keys without a default: `subject`,
`dictionary` and `corpus`. Everything else can be left out:

```toml
{EXAMPLE}```

- Unknown keys, wrong types and impossible combinations end the command with exit code 2 and one line that names the
  key, the value and the remedy. Values are not converted: `"5"` is not `5`.
- Paths that exist beside the spec are taken from the spec's folder.
- [spec.schema.json](spec.schema.json) is the JSON schema of a spec. Editors that know it complete keys and show their meaning: begin the file with
  `#:schema PATH/TO/spec.schema.json` for Taplo and Even Better TOML (VS Code).
- `--set key=value` replaces a key for one command, such as `--set judge.model=embedded`.
- The run's folder is named after the spec's hash. **Settings**, marked in the last column, stay out of the hash: they
  decide how a run is carried out and not what it finds, so changing one and running again continues the same run.
  Changing any other key makes another run, which shares every answer that the change does not touch.
- Tables `[studies.NAME]` name [studies of features](README.md#using-features), with the settings of the command NAME; written twice, as below, for two
  studies of one kind. They are carried out once the report is written, in `studies/` of the run's folder, and the report links to them. They are settings: the
  same spec with another study carries out that one alone. If a study fails, the others are carried out and the exit code is 1.
- A table `[matrix]` with lists of values makes one file several runs, one for each combination, and compares them: see
  [comparing runs](compare.md#a-matrix-of-dictionaries-and-judges).

```toml
{STUDIES}```
"""


def page() -> str:
    """docs/spec.md: every table and key with its type, default and docstring. Raises `UsageError` if the example is wrong."""
    spec.parse(tomllib.loads(EXAMPLE + STUDIES))
    scalars = {n: f for n, f in spec.Spec.model_fields.items() if _section(f.annotation) is None}
    parts = [MARK + INTRO, "## Top level\n\n" + _rows(scalars)]
    named: dict[type[section.Section], list[str]] = {}
    for name, table in _tables(spec.Spec):
        named.setdefault(table, []).append(name)
    for table, names in named.items():
        title = " and ".join(f"`[{name}]`" for name in names)
        words = [one_line(table.__doc__ or "")]
        words += [
            f"`[{n}]`: {d}"
            for n in names
            if "." not in n and (d := one_line(spec.Spec.model_fields[n].description or ""))
        ]
        parts.append(f"## {title}\n\n" + "\n\n".join(words) + "\n\n" + _rows(_keys(table)))
    return "\n".join(parts)


def _tables(model: type[section.Section], above: str = "") -> Iterator[tuple[str, type[section.Section]]]:
    """The tables of the spec by name, each before those in it, which may be repeated. Others are described as tables like another."""
    for name, field in model.model_fields.items():
        if (table := _section(field.annotation)) and not above:
            yield name, table
            yield from _tables(table, f"{name}.")
        elif table := _repeated(field.annotation):
            yield above + name, table


def _keys(table: type[section.Section]) -> dict[str, FieldInfo]:
    """The fields of a table, those of its base last, without tables that have a heading of their own."""
    own = sorted(table.model_fields, key=lambda name: name not in vars(table)["__annotations__"])
    return {name: table.model_fields[name] for name in own if not _repeated(table.model_fields[name].annotation)}


def _repeated(annotation: Any) -> type[section.Section] | None:
    """The table of which a field holds a list."""
    return _section(get_args(annotation)[0]) if get_origin(annotation) is tuple else None


def schema() -> str:
    """docs/spec.schema.json: the JSON schema of a spec (draft 2020-12), for editors. Names of other packages pass, as plain strings."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "autointerp spec"}
    return json.dumps(spec.Spec.model_json_schema() | head, indent=1) + "\n"


def _section(annotation: Any) -> type[section.Section] | None:
    options = (annotation, *(get_args(annotation) if get_origin(annotation) is not tuple else ()))
    return next((o for o in options if isinstance(o, type) and issubclass(o, section.Section)), None)


def _rows(fields: dict[str, FieldInfo]) -> str:
    lines = ["| key | type | default | meaning | |", "|---|---|---|---|---|"]
    for name, field in fields.items():
        extra = field.json_schema_extra
        setting = "setting" if isinstance(extra, dict) and extra.get("setting") else ""
        kind = _kind(field.annotation) + _limits(field)
        cells = (f"`{field.alias or name}`", kind, _default(field), one_line(field.description or ""), setting)
        lines.append(row(cells))
    return "\n".join(lines) + "\n"


def _kind(annotation: Any) -> str:
    plain = {str: "string", int: "integer", float: "number", bool: "true or false"}
    if annotation in plain:
        return plain[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f'`"{value}"`' for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(a) for a in arguments if a is not type(None))
    if origin is dict:
        return "a table"
    if origin is tuple:
        each = get_args(arguments[0])[0] if get_origin(arguments[0]) is Annotated else arguments[0]
        return f"list of {_kind(each)}" + ("s" if each in plain else "")
    if _section(annotation):
        return f"a table like `[{annotation.__name__.lower()}]`"
    raise TypeError(f"docs/pages/spec.py has no words for the type {annotation!r}: add them to _kind")


def _limits(field: FieldInfo) -> str:
    words = []
    for limit in field.metadata:
        for attribute, sign in (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<")):
            if (bound := getattr(limit, attribute, None)) is not None:
                words.append(f"{sign} {bound:,}" if isinstance(bound, int) else f"{sign} {bound:g}")
        if pattern := getattr(limit, "pattern", None):
            words.append(f"matching `{pattern}`")
    return ", " + ", ".join(words) if words else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    if field.default is None:
        return "none"
    if isinstance(field.default, bool):
        return f"`{str(field.default).lower()}`"
    return f'`"{field.default}"`' if isinstance(field.default, str) else f"`{field.default}`"
