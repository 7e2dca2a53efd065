"""A matrix of specs in one file: its `[matrix]` lists values of keys, and each combination of them is a cell, a spec of its own."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autointerp.errors import UsageError
from autointerp.spec import spec as spec_
from autointerp.spec.spec import MATRIX, Spec
from autointerp.spec.toml_files import read_toml, resolve_paths

LONGEST_NAME = 64


@dataclass(frozen=True)
class Cell:
    """One spec of a matrix, and the values that make it differ from the others."""

    values: Mapping[str, str]
    """By dotted key, the value as text; empty for the spec of a file without a matrix."""
    spec: Spec

    @property
    def label(self) -> str:
        """The values in words, or the spec's name if there are none."""
        return _label(self.values) or self.spec.name

    def along(self, table: str) -> str:
        """The values of the keys in one table of the spec, such as `judge`; empty if the matrix does not vary it."""
        return ", ".join(value for key, value in self.values.items() if key.split(".")[0] == table)


def read(path: Path, overrides: Sequence[str] = ()) -> list[Cell]:
    """The cells of a spec file in the order of its lists, the last key varying fastest; the file's spec alone without `[matrix]`.

    A value that is a table adds its keys to those of the same table in the file. Each cell is named after the file's `name` and its own
    values, so that further values leave the runs of the others as they are. Raises `UsageError`.
    """
    return cells_of(read_toml(path, overrides), path, overrides)


def cells_of(data: Mapping[str, Any], path: Path, overrides: Sequence[str] = ()) -> list[Cell]:
    """`read` for data that was read from a path. Raises `UsageError`."""
    if MATRIX not in data:
        return [Cell({}, spec_.parse(data))]
    data = dict(data)
    axes = _axes(data.pop(MATRIX), path)
    _check_overrides(axes, overrides)
    base = str(data.get("name", Spec.model_fields["name"].default))
    cells: dict[str, Cell] = {}
    for combination in itertools.product(*axes.values()):
        values = {key: _shown(value, axes[key]) for key, value in zip(axes, combination, strict=True)}
        cell_data = data
        for key, value in zip(axes, combination, strict=True):
            part = _nested(key.split("."), value)
            resolve_paths(part, path.parent)
            cell_data = _merged(cell_data, part)
        try:
            spec = spec_.parse(cell_data | {"name": _name(base, combination)})
        except UsageError as error:
            raise UsageError(f"{path}: the cell {_label(values)}: {error}") from None
        same = cells.setdefault(spec.hash(), Cell(values, spec))
        if same.values is not values:
            raise UsageError(f"{path}: the cell {_label(values)} is there twice: list each value once")
    return list(cells.values())


def _label(values: Mapping[str, str]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in values.items())


def _axes(matrix: Any, path: Path) -> dict[str, Sequence[Any]]:
    """The lists of `[matrix]` by dotted key."""
    axes = dict(_lists(matrix, "", path)) if isinstance(matrix, Mapping) else {}
    if not axes:
        raise UsageError(f"{path}: [matrix] lists no values: give keys lists, as in judge.model = ['embedded']")
    for key, values in axes.items():
        if not values:
            raise UsageError(f"{path}: matrix.{key} = [] is empty: list the values that the runs differ in")
        for value in values:
            if "." not in key and not isinstance(value, Mapping):
                raise UsageError(
                    f"{path}: matrix.{key} lists {value!r}, which is not a table: write the key with its table, as in"
                    " judge.model, or list tables"
                )
    return axes


def _lists(table: Mapping[str, Any], prefix: str, path: Path) -> Iterable[tuple[str, Sequence[Any]]]:
    for name, value in table.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _lists(value, f"{key}.", path)
        elif isinstance(value, list):
            yield key, value
        else:
            raise UsageError(f"{path}: matrix.{key} = {value!r} is not a list: list it, or set it outside [matrix]")


def _check_overrides(axes: Mapping[str, Any], overrides: Sequence[str]) -> None:
    for override in overrides:
        key = override.partition("=")[0].strip()
        if axis := next((axis for axis in axes if key == axis or key.startswith(f"{axis}.")), None):
            raise UsageError(f"--set {override!r}: the matrix sets {axis} in every cell: set matrix.{axis} to a list")


def _nested(key: Sequence[str], value: Any) -> dict[str, Any]:
    for part in reversed(key):
        value = {part: dict(value) if isinstance(value, Mapping) else value}
    return dict(value)


def _merged(table: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """A table with the keys of another over its own."""
    merged = dict(table)
    for key, value in over.items():
        mine = merged.get(key)
        merged[key] = _merged(mine, value) if isinstance(mine, dict) and isinstance(value, dict) else value
    return merged


def _shown(value: Any, among: Sequence[Any]) -> str:
    """A value as text that tells it from the others of its list: a table by its model or path if that is enough, else by all its values."""
    main = _main(value)
    return main if [_main(each) for each in among].count(main) == 1 else _text(value)


def _main(value: Any) -> str:
    found = value.get("model") or value.get("path") if isinstance(value, Mapping) else None
    return _text(found or value)


def _text(value: Any) -> str:
    values = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else None
    return str(value) if values is None else " ".join(map(_text, values))


def _name(base: str, values: Iterable[Any]) -> str:
    """The name of a cell's run: the last part of each value's path, in the characters of names. It does not depend on other cells."""
    last = [_main(value).lower().rstrip("/").split("/")[-1] for value in values]
    parts = [re.sub(r"[^a-z0-9_.]+", "-", text).strip("-.") for text in last]
    return ".".join([base, *filter(None, parts)])[:LONGEST_NAME]
