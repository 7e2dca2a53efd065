"""The tables of an index as CSV, for spreadsheets and other languages."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, TextIO

from autointerp.explorer.index import schema
from autointerp.explorer.index.folder import LABELS
from autointerp.explorer.publishing.folder import PublishedFolder
from autointerp.explorer.publishing.packing import rounded
from autointerp.explorer.search.reader import Reader
from autointerp.exports.csv_files import write_rows

_EXAMPLES = ["row", "unit_id", *schema.EXAMPLES.names[1:], "text"]
_LABELS = ["row", "unit_id", *schema.LABELS.names[1:]]


def write(folder: PublishedFolder, at: str, reader: Reader) -> None:
    """Write `units.csv`, `explanations.csv` and, compressed because it is large, `examples.csv.gz`. All name a unit by `row` and `unit_id`."""
    _put(folder, f"{at}csv/units.csv", schema.UNITS.names, _units(reader))
    _put(folder, f"{at}csv/explanations.csv", _LABELS, _named(reader, reader.folder.table(LABELS).to_pylist()))
    with folder.writer(f"{at}csv/examples.csv.gz") as file, compressing(file) as text:
        write_rows(text, _EXAMPLES, _examples(reader))


@contextmanager
def compressing(file: BinaryIO) -> Iterator[TextIO]:
    """Text that is written into a file compressed, without a time and a name."""
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8", newline="") as text,
    ):
        yield text


def _put(folder: PublishedFolder, name: str, columns: list[str], rows: Iterable[dict[str, Any]]) -> None:
    with folder.writer(name) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        write_rows(text, columns, rows)
        text.flush()
        text.detach()


def _units(reader: Reader) -> Iterator[dict[str, Any]]:
    for row in range(len(reader.columns)):
        yield rounded(reader.folder.unit(row))


def _examples(reader: Reader) -> Iterator[dict[str, Any]]:
    for _, _, number in reader.about.groups:
        for row in _named(reader, reader.folder.group(number).to_pylist()):
            yield row | {"text": "".join(row["tokens"])}


def _named(reader: Reader, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield rounded(row) | {"unit_id": reader.columns.unit_ids[row["row"]].as_py()}
