"""Reads the records of JSON, CSV, Parquet and Arrow files, streamed.

A reader takes a stream of decompressed bytes and yields `(where, record)`: the place for error messages, and the fields by name.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sae.corpus.recognition import Recognised, Stream
from sae.corpus.text import LONGEST_DOCUMENT, TextFile, too_long
from sae.errors import CorpusError, one_line

Record = tuple[str, Mapping[str, Any]]

ROWS = 64
"""Rows of a Parquet or Arrow file that are read together."""
LARGEST_UNPACKED = 1 << 33
"""Bytes that a compressed Parquet or Arrow file may have when it is unpacked to a temporary file, which it has to be."""
_DELIMITERS = {"csv": ",;\t|", "tsv": "\t,;|"}


def read_records(stream: Stream, path: Path, recognised: Recognised, field: str) -> Iterator[Record]:
    """The records of a file in any format but plain text. Raises `CorpusError` if a record is malformed, and `ValueError`,
    `csv.Error` or an error of pyarrow if the file is. `field`: the field that will be used."""
    match recognised.format:
        case "jsonl":
            with TextFile(stream, path, recognised.encoding) as text:
                yield from _json_lines(text)
        case "json":
            with TextFile(stream, path, recognised.encoding) as text:
                yield from _json_values(text)
        case "csv" | "tsv":
            with TextFile(stream, path, recognised.encoding, newline="") as text:
                yield from _rows(text, _DELIMITERS[recognised.format], field)
        case _:
            with _seekable(stream, path, recognised) as file:
                batches = _parquet(file, path, field) if recognised.format == "parquet" else _arrow(file, path, field)
                for batch in batches:
                    for record in batch.to_pylist():
                        yield f"corpus file {path}", record


def no_field(where: str, field: str, names: list[Any]) -> CorpusError:
    """The error for a record without the field."""
    known = ", ".join(str(name) for name in names[:20]) or "none"
    return CorpusError(f"{where} has no field {field!r}: set corpus.text_field to one of: {known}")


def _json_lines(text: TextFile) -> Iterator[Record]:
    for number, line in enumerate(text.lines(), 1):
        if not (line := line.lstrip("\ufeff")).strip():
            continue
        where = f"corpus file {text.path}, line {number},"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CorpusError(f"{where} is not JSON: {one_line(error)}") from None
        if not isinstance(record, dict):
            raise CorpusError(f"{where} is not a JSON object: write one object a line")
        yield where, record


def _json_values(text: TextFile) -> Iterator[Record]:
    """Objects of an array, or one after another. Memory holds one object and a block of text."""
    decode = json.JSONDecoder().raw_decode
    blocks = text.blocks()
    held, at, number = next(blocks, "").lstrip("\ufeff \t\r\n").removeprefix("["), 0, 0
    while True:
        while at < len(held) and held[at] in ", \t\r\n":
            at += 1
        if at < len(held) and held[at] != "]":
            where = f"corpus file {text.path}, item {number + 1},"
            try:
                record, at = decode(held, at)
            except RecursionError as error:
                raise CorpusError(f"{where} is not JSON: {one_line(error)}") from None
            except ValueError as error:
                # The item may be incomplete: twice the text, so that the work stays proportional to the item's size.
                more = _at_least(blocks, len(held) - at + 1)
                if not more or not _incomplete(error, len(held)):
                    raise CorpusError(f"{where} is not JSON: {one_line(error)}") from None
                held, at = held[at:] + more, 0
                if len(held) > 2 * LONGEST_DOCUMENT:
                    raise too_long(where) from None
                continue
            if not isinstance(record, dict):
                raise CorpusError(f"{where} is not a JSON object: write an array of objects")
            number += 1
            yield where, record
        elif at < len(held):
            return
        elif block := next(blocks, ""):
            held, at = block, 0
        else:
            return


def _at_least(blocks: Iterator[str], size: int) -> str:
    parts: list[str] = []
    while size > 0 and (block := next(blocks, "")):
        parts.append(block)
        size -= len(block)
    return "".join(parts)


def _incomplete(error: ValueError, length: int) -> bool:
    """Whether a JSON error may be due to text that ends early."""
    if not isinstance(error, json.JSONDecodeError):
        return False
    return error.msg.startswith("Unterminated string") or error.pos >= length - 16


def _rows(text: TextFile, delimiters: str, field: str) -> Iterator[Record]:
    """Rows of a table with a header. The delimiter is the one that makes `field` a column, by default the first."""
    csv.field_size_limit(LONGEST_DOCUMENT)
    lines = text.lines()
    header = next(lines, "")
    columns = {d: next(csv.reader([header], delimiter=d), []) for d in delimiters}
    delimiter = next((d for d, names in columns.items() if field in names), delimiters[0])
    names = columns[delimiter]
    if header.strip() and field not in names:
        raise no_field(f"corpus file {text.path}", field, names)
    if names.count(field) > 1:
        raise CorpusError(
            f"corpus file {text.path} has {names.count(field)} columns named {field!r}: rename one of them"
        )
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    for row in reader:
        where = f"corpus file {text.path}, line {reader.line_num + 1},"
        if any(row[len(names) :]):
            raise CorpusError(
                f"{where} has {len(row)} fields, the header {len(names)}: put fields that hold {delimiter!r} into quotes"
            )
        if row:
            yield where, dict(zip(names, row, strict=False)) | ({field: None} if len(row) <= names.index(field) else {})


def table_delimiter(line: str, field: str) -> str | None:
    """The delimiter, if a line is the header of a table with the column `field`; None if it is prose."""
    for delimiter in ",;\t|":
        names = [name.strip().strip('"') for name in line.strip().split(delimiter)]
        if len(names) > 1 and field in names and all(re.fullmatch(r"[\w.-]{1,40}", name) for name in names):
            return delimiter
    return None


def _parquet(file: Any, path: Path, field: str) -> Iterator[pa.RecordBatch]:
    table = pq.ParquetFile(file)
    if field not in table.schema_arrow.names:
        raise no_field(f"corpus file {path}", field, table.schema_arrow.names)
    yield from table.iter_batches(batch_size=ROWS, columns=[field])


def _arrow(file: Any, path: Path, field: str) -> Iterator[pa.RecordBatch]:
    start = file.read(6)
    file.seek(0)
    if start == b"ARROW1":
        table = pa.ipc.open_file(file)
        batches = (table.get_batch(n) for n in range(table.num_record_batches))
    else:
        table = batches = pa.ipc.open_stream(file)
    if field not in table.schema.names:
        raise no_field(f"corpus file {path}", field, table.schema.names)
    for batch in batches:
        column = batch.select([field])
        for first in range(0, column.num_rows, ROWS):
            yield column.slice(first, ROWS)


@contextmanager
def _seekable(stream: Stream, path: Path, recognised: Recognised) -> Iterator[Any]:
    """The stream, or a temporary file with its content if it is compressed."""
    if recognised.compression is None:
        yield stream
        return
    with tempfile.TemporaryFile() as plain:
        while block := stream.read(1 << 20):
            plain.write(block)
            if plain.tell() > min(LARGEST_UNPACKED, shutil.disk_usage(tempfile.gettempdir()).free):
                raise CorpusError(
                    f"corpus file {path} is larger than {LARGEST_UNPACKED >> 30} GiB unpacked, or than the free space of"
                    f" {tempfile.gettempdir()}: unpack it before"
                )
        plain.seek(0)
        yield plain
