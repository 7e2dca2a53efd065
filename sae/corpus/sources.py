"""Documents from files and from data sets of the `datasets` library, streamed piece by piece.

A piece is `(text, last)`: a part of a document, and whether the document ends with it. A long text file is one document in several
pieces, so it may be larger than memory.
"""

from __future__ import annotations

import codecs
import csv
import glob
import gzip
import io
import json
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import pyarrow.parquet as pq
import zstandard

from sae.errors import CorpusError, one_line
from sae.library_errors import remedy

Piece = tuple[str, bool]

PIECE_BYTES = 1 << 16
"""Size of a piece of a text file: small enough for sources to be read in turn, large enough to be cheap."""
LONGEST_PIECE = 1 << 20
"""Characters after which a text is cut even without a space or line break."""

_COMPRESSIONS = (".gz", ".zst")
_TABLES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".csv": "csv"}
_DATASET = re.compile(r"datasets:(?P<name>[^:@]+)(:(?P<config>[^:@]+))?(@(?P<revision>[^:@]+))?")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Files:
    """An entry of `corpus.sources` that names files, which are read one after another in sorted order."""

    paths: tuple[Path, ...]


@dataclass(frozen=True)
class HubDataset:
    """An entry `datasets:owner/name[:config][@revision]`, streamed by the `datasets` library."""

    name: str
    config: str | None
    revision: str | None


Source = Files | HubDataset


def parse_source(source: str) -> Source:
    """Resolve an entry of `corpus.sources`: a file, a glob, or `datasets:owner/name`. Raises `CorpusError`."""
    if source.startswith("datasets:"):
        match = _DATASET.fullmatch(source)
        if match is None:
            raise CorpusError(f"corpus source {source!r} is malformed: write datasets:owner/name[:config][@revision]")
        return HubDataset(match["name"], match["config"], match["revision"])
    path = Path(source).expanduser()
    if path.is_file():
        return Files((path,))
    if path.is_dir():
        raise CorpusError(
            f"corpus source {source} is a folder: name its files, such as {Path(source) / '**' / '*.txt'}"
        )
    files = sorted(p for p in map(Path, glob.glob(str(path), recursive=True)) if p.is_file())
    if not files:
        raise CorpusError(f"corpus source {source} matches no file: check the path")
    return Files(tuple(files))


def file_kind(path: Path) -> str:
    """`jsonl`, `parquet`, `csv`, or `text` (one document per file), by the suffix before any compression suffix."""
    suffixes = [s.lower() for s in path.suffixes]
    while suffixes and suffixes[-1] in _COMPRESSIONS:
        suffixes.pop()
    return _TABLES.get(suffixes[-1], "text") if suffixes else "text"


def read_source(source: Source, *, text_field: str, split: str) -> Iterator[Piece]:
    """Every piece of every document of a source, in order. Raises `CorpusError` naming the file that fails."""
    if isinstance(source, HubDataset):
        yield from _read_dataset(source, text_field, split)
        return
    for path in source.paths:
        yield from _read_file(path, text_field)


def clean(text: str) -> str:
    """The text as valid Unicode: lone surrogates become U+FFFD; everything else, including null bytes, is kept."""
    if not _LONE_SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _read_file(path: Path, text_field: str) -> Iterator[Piece]:
    readers = {"jsonl": _read_jsonl, "csv": _read_csv, "parquet": _read_parquet}
    kind = file_kind(path)
    try:
        with _open(path) as stream:
            if kind == "text":
                yield from _read_text(stream)
            else:
                yield from readers[kind](stream, path, text_field)
    except CorpusError:
        raise
    except (OSError, EOFError, ValueError, csv.Error, zstandard.ZstdError) as error:
        raise CorpusError(f"corpus file {path} cannot be read as {kind}: {one_line(error)}") from None
    except Exception as error:
        # zlib.error and pyarrow's errors have no common base class.
        if type(error).__module__.split(".")[0] not in ("zlib", "pyarrow"):
            raise
        raise CorpusError(f"corpus file {path} cannot be read as {kind}: {one_line(error)}") from None


def _open(path: Path) -> IO[bytes]:
    if path.suffix.lower() == ".gz":
        return cast("IO[bytes]", gzip.open(path, "rb"))
    if path.suffix.lower() == ".zst":
        return io.BufferedReader(_ZstdFile(path), 1 << 20)
    return path.open("rb")


class _ZstdFile(io.RawIOBase):
    """A zstd file as a raw stream. The library's own reader ends silently at a truncated file; this one raises `EOFError`."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._frame: Any = None  # the decompressor of the current frame; a file may hold several
        self._rest = self._ready = b""  # compressed bytes after the last frame, and decompressed bytes not yet read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            block = self._rest or self._file.read(1 << 17)
            if not block:
                if self._frame is not None:
                    raise EOFError("the file is truncated")
                return 0
            self._frame = self._frame or zstandard.ZstdDecompressor().decompressobj()
            self._ready, self._rest = self._frame.decompress(block), b""
            if self._frame.eof:
                self._rest, self._frame = self._frame.unused_data, None
        count = min(len(buffer), len(self._ready))
        buffer[:count], self._ready = self._ready[:count], self._ready[count:]
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def _read_text(stream: IO[bytes]) -> Iterator[Piece]:
    decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
    held = ""
    while block := stream.read(PIECE_BYTES):
        held += decoder.decode(block)
        # Cut before the last line break or space, where byte-level tokenizers cut as well, so that the cut does not change tokens.
        cut = max(held.rfind("\n"), held.rfind(" "))
        if cut <= 0 and len(held) > LONGEST_PIECE:
            cut = len(held)
        if len(held) > PIECE_BYTES // 2 and cut > 0:
            yield held[:cut], False
            held = held[cut:]
    yield held + decoder.decode(b"", final=True), True


def _read_jsonl(stream: IO[bytes], path: Path, text_field: str) -> Iterator[Piece]:
    for number, line in enumerate(stream, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line.decode("utf-8-sig", "replace"))
        except (ValueError, RecursionError) as error:
            raise CorpusError(f"corpus file {path}, line {number}, is not JSON: {one_line(error)}") from None
        if not isinstance(record, dict):
            raise CorpusError(f"corpus file {path}, line {number}, is not a JSON object: write one object a line")
        yield _text_of(record, text_field, f"corpus file {path}, line {number},"), True


def _read_csv(stream: IO[bytes], path: Path, text_field: str) -> Iterator[Piece]:
    csv.field_size_limit(sys.maxsize)  # the default limit is 128 KiB per field
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="")
    try:
        for record in csv.DictReader(text):
            yield _text_of(record, text_field, f"corpus file {path}"), True
    finally:
        text.detach()  # the caller closes the stream


def _read_parquet(stream: IO[bytes], path: Path, text_field: str) -> Iterator[Piece]:
    with tempfile.TemporaryFile() as plain:
        seekable = stream
        if path.suffix.lower() in _COMPRESSIONS:
            while block := stream.read(1 << 20):
                plain.write(block)
            plain.seek(0)
            seekable = plain
        table = pq.ParquetFile(seekable)
        names = table.schema_arrow.names
        if text_field not in names:
            raise _no_field(f"corpus file {path}", text_field, names)
        for batch in table.iter_batches(batch_size=256, columns=[text_field]):
            for record in batch.to_pylist():
                yield _text_of(record, text_field, f"corpus file {path}"), True


def _read_dataset(source: HubDataset, text_field: str, split: str) -> Iterator[Piece]:
    import datasets

    where = f"datasets:{source.name}"
    try:
        stream = datasets.load_dataset(
            source.name, source.config, split=split, revision=source.revision, streaming=True
        )
        for record in stream:
            yield _text_of(record, text_field, where), True
    except CorpusError:
        raise
    except Exception as error:
        # Errors of the library, the hub or the network all have causes that only the user can remove.
        raise CorpusError(f"corpus source {where}, split {split}, cannot be read: {remedy(error)}") from None


def _text_of(record: Mapping[str, Any], text_field: str, where: str) -> str:
    if text_field not in record:
        raise _no_field(where, text_field, list(record))
    value = record[text_field]
    if value is None:
        return ""
    if not isinstance(value, str):
        raise CorpusError(
            f"{where} field {text_field!r} holds {type(value).__name__}, not text: set corpus.text_field to a text field"
        )
    return value


def _no_field(where: str, text_field: str, names: list[Any]) -> CorpusError:
    known = ", ".join(str(name) for name in names[:20]) or "none"
    return CorpusError(f"{where} has no field {text_field!r}: set corpus.text_field to one of: {known}")
