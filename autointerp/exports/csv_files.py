"""CSV: every table of a run as a file, for spreadsheets and other languages.

Lists, such as an exemplar's tokens, are cells of JSON. The column `text` of exemplars is the window as one text. A cell that a
spreadsheet would read as a formula is preceded by an apostrophe.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO

from autointerp.exports.request import Request
from autointerp.exports.run_tables import TABLES, Row, RunTables
from autointerp.formatting import as_text_cell
from sae.files import written_whole


def export(run: RunTables, request: Request) -> str:
    """Write the run's tables as CSV files. Returns the folder."""
    for name in TABLES:
        if (rows := run.rows(name)) is not None:
            if name == "exemplars":
                rows = [row | {"text": "".join(row["tokens"])} for row in rows]
            _write(request.out / f"{name}.csv", rows)
    return str(request.out)


def write_rows(file: TextIO, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Write a table into a file that was opened with `newline=""`."""
    writer = csv.writer(file)
    writer.writerow(columns)
    writer.writerows([_cell(row[column]) for column in columns] for row in rows)


def _write(path: Path, rows: list[Row]) -> None:
    with written_whole(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        write_rows(file, list(rows[0]) if rows else [], rows)


def _cell(value: Any) -> Any:
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return as_text_cell(value)
