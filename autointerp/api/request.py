"""One evaluation as it was asked for: its spec, and the inputs and judges that are objects in memory."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autointerp.errors import UsageError
from autointerp.spec.spec import Spec, parse
from autointerp.spec.toml_files import set_key


def spec_of(tables: Mapping[str, Mapping[str, Any]], name: str, more: Mapping[str, Any] | None) -> Spec:
    """The spec of these tables, in which values of None are left out. `more`: further tables, or dotted keys with their values.

    Raises `UsageError` with the first wrong key.
    """
    data: dict[str, Any] = {"name": name}
    for table, values in tables.items():
        data[table] = {key: value for key, value in values.items() if value is not None}
    for key, value in (more or {}).items():
        entries = value.items() if isinstance(value, Mapping) else [("", value)]
        for inner, entry in entries:
            set_key(data, [*key.split("."), *([inner] if inner else [])], entry, f"spec[{key!r}]")
    return parse(data)


def units_table(features: int | Sequence[int], neurons: int | Sequence[str] | None) -> dict[str, Any]:
    """The spec's table of units: numbers to sample, or the units themselves. Neurons are as many as features by default."""
    table: dict[str, Any] = {}
    if isinstance(features, int):
        table["features"] = features
    else:
        table["feature_ids"] = [int(index) for index in features]
    if neurons is None:
        neurons = features if isinstance(features, int) else len(table["feature_ids"])
    table["neurons" if isinstance(neurons, int) else "neuron_ids"] = (
        neurons if isinstance(neurons, int) else list(neurons)
    )
    return table


def judge_table(judge: Any, name: str) -> dict[str, Any]:
    """The spec's table of a judge, given by its name or as a table. Raises `UsageError`."""
    if isinstance(judge, str):
        return {"model": judge}
    if isinstance(judge, Mapping):
        return dict(judge)
    raise UsageError(
        f"{name} is a {type(judge).__name__}: give a name such as 'anthropic/claude-haiku-4-5', or a callable"
    )


def source(value: Any, name: str) -> str:
    """A path or name as the spec has it. Raises `UsageError` for anything else."""
    if isinstance(value, str | os.PathLike):
        return str(Path(value).expanduser()) if isinstance(value, os.PathLike) else value
    raise UsageError(f"{name} is a {type(value).__name__}: give a path or a hub id")


def sources(texts: Any) -> list[str]:
    """The entries of `corpus.sources`: one path or name, or several paths. Raises `UsageError` for anything else."""
    several = isinstance(texts, Sequence) and not isinstance(texts, str)
    return [source(text, "texts") for text in (texts if several else [texts])]
