"""Reads a graded set from a table: a CSV file, or a file with one JSON object per line.

A row is an item, with the columns `explanation`, `marked` and `grade`, and, if it has them, `why`, `trap`, `commands` and `rubric`. Other
columns are ignored. The sheet of `autointerp label --export` calls `marked` and `grade` `text` and `score`; both names are read.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from autointerp.errors import UsageError
from autointerp.hashing import content_hash
from autointerp.judge_check.graded_set import Entry, GradedSet, GradedUnit
from autointerp.spec.rubric import first_error

RUBRIC = "specificity"
"""The rubric of a table without the column `rubric`."""
_OTHER_NAMES = {"text": "marked", "score": "grade"}
_NUMBERS = ("grade", "score", "commands")
_COLUMNS = ("explanation", "marked", "grade", "why", "trap", "commands", "rubric")


class Row(Entry):
    """An item with its explanation."""

    explanation: str = Field(min_length=1)
    rubric: str = RUBRIC

    @property
    def entry(self) -> Entry:
        """The item without its explanation."""
        return Entry.model_validate(self.model_dump(exclude={"explanation", "rubric"}))


def load(path: Path) -> GradedSet:
    """Load a set from a table. Its name is that of the file and its version a hash of its rows. Raises `UsageError` on one line."""
    try:
        # Decoded by hand: text mode would turn the carriage returns within a text into line feeds.
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise UsageError(f"graded set {path} cannot be read: {reason}") from None
    rows: list[Row] = []
    for line, data in READERS[path.suffix.lower()](text, path):
        try:
            rows.append(Row.model_validate(_known(data)))
        except ValidationError as error:
            raise UsageError(f"graded set {path}, line {line}: {first_error(error)}") from None
    if not rows:
        raise UsageError(f"graded set {path} has no items: give one in each row")
    rubrics = sorted({row.rubric for row in rows})
    if len(rubrics) > 1:
        raise UsageError(f"graded set {path} names the rubrics {' and '.join(rubrics)}: check one rubric at a time")
    by_explanation: dict[str, list[Entry]] = {}
    for row in rows:
        by_explanation.setdefault(row.explanation, []).append(row.entry)
    return GradedSet(
        name=re.sub(r"[^a-z0-9_-]+", "-", path.stem.lower()).strip("-_")[:64] or "items",
        version=content_hash([row.model_dump(mode="json") for row in rows])[:8],
        rubric=rubrics[0],
        source=path.name,
        traps={row.trap: row.trap for row in rows if row.trap},
        units=tuple(GradedUnit(explanation=text, items=tuple(items)) for text, items in by_explanation.items()),
    )


def _known(data: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a row under the names of `Row`, without empty ones."""
    named = {_OTHER_NAMES.get(name, name): value for name, value in data.items() if value not in (None, "")}
    return {name: value for name, value in named.items() if name in _COLUMNS}


def _csv_rows(text: str, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a table separated by commas, semicolons or tabs, with the lines in which they end. Raises `UsageError`."""
    header = text.split("\n", 1)[0]
    table = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count), strict=True)
    try:
        for row in table:
            cells = {name.strip().lower(): cell for name, cell in row.items() if name}
            yield table.line_num, {name: _number(cell) if name in _NUMBERS else cell for name, cell in cells.items()}
    except csv.Error as error:
        raise UsageError(f"graded set {path}, line {table.line_num}: {error}: write it as CSV") from None


def _number(cell: str | None) -> Any:
    """A grade in a cell: a whole number, or a fraction with a point or a comma; other cells are returned as they are."""
    if cell is None or not re.fullmatch(r"\s*\d+([.,]\d+)?\s*", cell):
        return cell
    value = float(cell.replace(",", "."))
    return int(value) if value.is_integer() else value


def _json_rows(text: str, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file with one on each line. Raises `UsageError`."""
    # Lines end at line feeds alone: str.splitlines would also cut strings at U+2028.
    for line, each in enumerate(text.split("\n"), 1):
        if each.strip():
            try:
                data = json.loads(each)
            except ValueError as error:
                raise UsageError(f"graded set {path}, line {line} is not JSON: {error}") from None
            if not isinstance(data, dict):
                raise UsageError(f"graded set {path}, line {line} is not an object: write {{...}} on each line")
            yield line, data


READERS: Mapping[str, Callable[[str, Path], Iterator[tuple[int, dict[str, Any]]]]] = {
    ".csv": _csv_rows,
    ".tsv": _csv_rows,
    ".jsonl": _json_rows,
    ".ndjson": _json_rows,
}
"""The reader of each kind of table, by the end of the file's name."""
