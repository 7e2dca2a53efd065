"""Writes the pages of docs/ that come from the code: spec.md and training.md from the fields, cli.md from the help.

`python docs/generate.py` writes them; with `--check` it writes nothing and exits with 1 when a page is out of date.
"""

from __future__ import annotations

import ast
import itertools
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import click
from pydantic.fields import FieldInfo

import sae
from autointerp import spec

DOCS = Path(__file__).parent
MARK = "<!-- Written by `make docs` from the code: change it there. -->\n"

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

SPEC_INTRO = f"""\
# Spec reference

A spec is a TOML file that says what to evaluate, with what, and how. Three tables have keys without a default: `subject`,
`dictionary` and `corpus`. Everything else can be left out:

```toml
{EXAMPLE}```

- Unknown keys, wrong types and impossible combinations end the command with exit code 2 and one line that names the
  key, the value and the remedy. Values are not converted: `"5"` is not `5`.
- Paths that exist beside the spec are taken from the spec's folder.
- `--set key=value` replaces a key for one command, such as `--set judge.model=embedded`.
- The run's folder is named after the spec's hash. **Settings**, marked in the last column, stay out of the hash: they
  decide how a run is carried out and not what it finds, so changing one and running again continues the same run.
  Changing any other key makes another run, which shares every answer that the change does not touch.
"""


TRAINING_INTRO = """\
# Training reference

`autointerp train FILE --out FOLDER` reads a TOML file with `hook_point`, the tables `[subject]` and `[corpus]` of the
[spec](spec.md), and the table `[train]`, whose keys are these:

"""


def spec_page() -> str:
    """docs/spec.md: every table and key with its type, default and docstring. Raises `UsageError` if the example is wrong."""
    import tomllib

    spec.parse(tomllib.loads(EXAMPLE))
    scalars = {n: f for n, f in spec.Spec.model_fields.items() if _section(f.annotation) is None}
    parts = [MARK + SPEC_INTRO, "## Top level\n\n" + _rows(scalars)]
    named: dict[type[spec.Section], list[str]] = {}
    for name, field in spec.Spec.model_fields.items():
        if section := _section(field.annotation):
            named.setdefault(section, []).append(name)
    for section, names in named.items():
        title = " and ".join(f"`[{name}]`" for name in names)
        words = [_one_line(section.__doc__ or "")]
        words += [f"`[{n}]`: {d}" for n in names if (d := _one_line(spec.Spec.model_fields[n].description or ""))]
        parts.append(f"## {title}\n\n" + "\n\n".join(words) + "\n\n" + _rows(section.model_fields))
    return "\n".join(parts)


def training_page() -> str:
    """docs/training.md: the fields of the trainer's configuration, read from its source so that torch need not be there."""
    tree = ast.parse(Path(sae.__file__).with_name("train.py").read_text(encoding="utf-8"))
    config = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "TrainConfig")
    lines = ["| key | default | meaning |", "|---|---|---|"]
    for field, docstring in itertools.pairwise(config.body):
        if isinstance(field, ast.AnnAssign) and field.value and isinstance(docstring, ast.Expr):
            default = ast.unparse(field.value).replace("_", "").replace("'", '"')
            meaning = _one_line(ast.literal_eval(docstring.value))
            lines.append(f"| `{ast.unparse(field.target)}` | `{default}` | {meaning} |".replace("`None`", "none"))
    return MARK + TRAINING_INTRO + "\n".join(lines) + "\n"


def cli_page() -> str:
    """docs/cli.md: the help of every command as the program prints it."""
    from autointerp.cli import main

    parts = [MARK + "# Command line\n\nWhat `--help` prints, command by command.\n"]
    parts += [f"## `{path}`\n\n```text\n{text}\n```\n" for path, text in _helps(main, "autointerp", None)]
    return "\n".join(parts)


PAGES: dict[str, Callable[[], str]] = {"spec.md": spec_page, "training.md": training_page, "cli.md": cli_page}


def main(arguments: list[str]) -> int:
    """Write every page, or with `--check` compare it. Gives the exit code."""
    stale = []
    for name, page in PAGES.items():
        path, text = DOCS / name, page()
        if "--check" not in arguments:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
    if stale:
        print(f"docs: out of date: {', '.join(stale)}: run `make docs`", file=sys.stderr)
    return 1 if stale else 0


def _helps(command: click.Command, path: str, parent: click.Context | None) -> list[tuple[str, str]]:
    # A fixed width: the page must not depend on whose terminal wrote it.
    settings: dict[str, Any] = dict(command.context_settings) | {"terminal_width": 100, "max_content_width": 100}
    context = click.Context(command, info_name=path.rpartition(" ")[2], parent=parent, **settings)
    found = [(path, click.unstyle(command.get_help(context)).rstrip())]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None and not child.hidden:
                found += _helps(child, f"{path} {name}", context)
    return found


def _section(annotation: Any) -> type[spec.Section] | None:
    options = (annotation, *get_args(annotation))
    return next((o for o in options if isinstance(o, type) and issubclass(o, spec.Section)), None)


def _rows(fields: dict[str, FieldInfo]) -> str:
    lines = ["| key | type | default | meaning | |", "|---|---|---|---|---|"]
    for name, field in fields.items():
        extra = field.json_schema_extra
        setting = "setting" if isinstance(extra, dict) and extra.get("setting") else ""
        kind = _kind(field.annotation) + _limits(field)
        cells = (f"`{name}`", kind, _default(field), _one_line(field.description or ""), setting)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
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
    if origin is tuple:
        return f"list of {_kind(arguments[0])}s"
    raise TypeError(f"docs/generate.py has no words for the type {annotation!r}: add them to _kind")


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


def _one_line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
