"""Recognises a corpus file by its content: compression, format and text encoding.

A name decides only what the content cannot: whether text is CSV or prose, and whether JSON stands in lines. A name that contradicts
the content is refused, and so is content of any other kind: only text is read as prose.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard

from sae.errors import CorpusError

HEAD_BYTES = 1 << 16
"""Decompressed bytes from which a file is recognised."""
WIDEST_ZSTD_WINDOW = 1 << 31
"""Memory that one zstd file may ask for, in bytes. Files written with `--long=31` need this much."""

Stream = gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile | io.BufferedReader
"""A file that yields decompressed bytes."""


@dataclass(frozen=True)
class Compression:
    """A compression format: the suffix of its files, the pattern of their first bytes, and the reader."""

    suffix: str
    magic: re.Pattern[bytes]
    open: Callable[[Path], Stream]


@dataclass(frozen=True)
class Format:
    """A format of corpus files. `name` is part of cache keys. `suffixes` are the names that announce it, `magics` the first bytes.

    `documents`: which part of a file is a document, for the documentation.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    documents: str
    magics: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Recognised:
    """A file's compression (None if plain), the name of its format, and the encoding of its text."""

    compression: Compression | None
    format: str
    encoding: str

    @property
    def kind(self) -> str:
        """Format and encoding in one word, the part of a cache key that depends on how the file is read."""
        return self.format if self.encoding == "utf-8-sig" else f"{self.format} {self.encoding}"


class _ZstdFile(io.RawIOBase):
    """A zstd file as a raw stream. The library's own reader ends silently at a truncated file; this one raises `EOFError`."""

    BLOCK = 1 << 11
    """Compressed bytes at a time. The library returns all that a block expands to, up to 32,000 times its size."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._frame: Any = None  # the decompressor of the current frame; a file may hold several
        self._rest = self._ready = b""  # compressed bytes after the last frame, and decompressed bytes not yet read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            block = self._rest or self._file.read(self.BLOCK)
            if not block:
                if self._frame is not None:
                    raise EOFError("the file is truncated")
                return 0
            if self._frame is None:
                self._frame = zstandard.ZstdDecompressor(max_window_size=WIDEST_ZSTD_WINDOW).decompressobj()
            self._ready, self._rest = self._frame.decompress(block), b""
            if self._frame.eof:
                self._rest, self._frame = self._frame.unused_data, None
        count = min(len(buffer), len(self._ready))
        buffer[:count], self._ready = self._ready[:count], self._ready[count:]
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


COMPRESSIONS = (
    Compression(".gz", re.compile(rb"\x1f\x8b"), gzip.GzipFile),
    Compression(".zst", re.compile(rb"\x28\xb5\x2f\xfd"), lambda path: io.BufferedReader(_ZstdFile(path), 1 << 20)),
    Compression(".bz2", re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"), bz2.BZ2File),
    Compression(".xz", re.compile(rb"\xfd7zXZ\x00"), lzma.LZMAFile),
)

FORMATS = (
    Format("jsonl", "JSON lines", (".jsonl", ".ndjson", ".json"), "a line"),
    Format("json", "JSON: an array, or objects over several lines", (".json",), "an object"),
    Format("csv", "CSV with a header", (".csv",), "a row"),
    Format("tsv", "TSV with a header", (".tsv", ".tab"), "a row"),
    Format("parquet", "Parquet", (".parquet",), "a row", (b"PAR1",)),
    Format("arrow", "Arrow IPC, file or stream; a folder of `save_to_disk`", (".arrow", ".feather"), "a row",
           (b"ARROW1\0\0", b"\xff\xff\xff\xff")),
    Format("text", "plain text, Markdown, code", (".txt", ".md"), "a file, or a line (see below)"),
)  # fmt: skip

NOT_TEXT = (
    (b"version https://git-lfs", "a Git LFS pointer, not the data", "run git lfs pull in its folder"),
    (b"PK\x03\x04", "a zip archive or an office document", "unpack it and name the files inside"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it and name the files inside"),
    (b"\x04\x22\x4d\x18", "compressed with LZ4", "unpack it, or compress it with gzip, zstd, bzip2 or xz"),
    (b"\x1f\x9d", "compressed by compress (.Z)", "unpack it, or compress it with gzip, zstd, bzip2 or xz"),
    (b"]\0\0", "compressed with LZMA of before xz", "unpack it, or compress it with gzip, zstd, bzip2 or xz"),
    (b"\xff\x06\0\0sNaPpY", "compressed with Snappy", "unpack it, or compress it with gzip, zstd, bzip2 or xz"),
    (b"%PDF", "a PDF", "extract its text, such as with pdftotext"),
    (b"{\\rtf", "an RTF document", "save it as plain text"),
    (b"FEA1", "a Feather file of version 1", "write it again with pyarrow.feather.write_feather"),
    (b"Obj\x01", "an Avro file", "convert it to Parquet or JSONL"),
    (b"SQLite format 3\0", "an SQLite database", "export a table as CSV"),
    (b"\x89HDF", "an HDF5 file", "convert it to Parquet or JSONL"),
    (b"\x93NUMPY", "a NumPy array", "convert it to Parquet or JSONL"),
    (b"\x80\x04", "a Python pickle", "convert it to Parquet or JSONL"),
    (b"\x80\x05", "a Python pickle", "convert it to Parquet or JSONL"),
)
"""First bytes of files that are often found in the place of a corpus: (first bytes, description, remedy)."""

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
MARKUP = (
    (re.compile(r"<!doctype html|<html[\s>]", re.IGNORECASE), "an HTML page", "extract its text"),
    (
        re.compile(r"<\?xml|<mediawiki[\s>]"),
        "XML",
        "extract its text, such as with wikiextractor from a dump of Wikipedia",
    ),
    (re.compile(r"WARC/\d\.\d\r?\n"), "a WARC of crawled pages", "extract its text, such as with warcio"),
)
"""Beginnings of texts whose markup would be taken for their words: (pattern, description, remedy)."""
_CONTROL = re.compile(r"[\x01-\x08\x0e-\x1f]")
FEWEST_JSON_LINES = 5
"""JSON objects in the first lines of a prose file from which these are its records."""
_OBJECT = re.compile(r"""\{\s*(?:\}|"(?:[^"\\]|\\.)*"\s*:|'(?:[^'\\]|\\.)*'\s*:)""")
_ARRAY = re.compile(r"""\[\s*\{\s*(?:\}|["'])""")


def recognise(path: Path) -> Recognised:
    """Compression, format and encoding of a file. Raises `CorpusError` if it is none of those that are read; errors of the file
    system and of decompression pass through."""
    with path.open("rb") as file:
        first = file.read(10)
    compression = next((c for c in COMPRESSIONS if c.magic.match(first)), None)
    suffixes = [suffix.lower() for suffix in path.suffixes]
    while suffixes and (named := next((c for c in COMPRESSIONS if c.suffix == suffixes[-1]), None)):
        if compression is None:
            raise CorpusError(
                f"corpus file {path} is named {named.suffix} but is not compressed: rename it to {path.stem}"
                if first.strip()
                else f"corpus file {path} is named {named.suffix} but is empty: write it again"
            )
        suffixes.pop()
    with compression.open(path) if compression else path.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
    return Recognised(compression, *_content(path, head, suffixes[-1] if suffixes else ""))


def _content(path: Path, head: bytes, suffix: str) -> tuple[str, str]:
    """Format and encoding of a file whose decompressed content begins with `head`."""
    if twice := next((c for c in COMPRESSIONS if c.magic.match(head)), None):
        raise CorpusError(f"corpus file {path} is compressed twice: unpack it once, to a {twice.suffix} file")
    if found := next((f for f in FORMATS if head.startswith(f.magics or (b"\0none",))), None):
        return found.name, "utf-8-sig"
    for magic, description, remedy in NOT_TEXT:
        if head.startswith(magic):
            raise CorpusError(f"corpus file {path} is {description}: {remedy}")
    if named := next((f for f in FORMATS if f.magics and suffix in f.suffixes), None):
        title = named.title.partition(",")[0]
        raise CorpusError(f"corpus file {path} is named {suffix} but does not begin as {title} does: write it again")
    if head[257:262] == b"ustar":
        raise CorpusError(f"corpus file {path} is a tar archive: unpack it and name the files inside")
    encoding = _encoding(path, head)
    text = codecs.getincrementaldecoder(encoding)("replace").decode(head).lstrip("\ufeff \t\r\n")
    found_format = _text_format(text, suffix)
    if found_format == "text":
        _check_prose(path, text)
    return found_format, encoding


def _encoding(path: Path, head: bytes) -> str:
    """The encoding by byte order mark; without one UTF-16 if most characters are ASCII, else UTF-8."""
    for bom, encoding in _BOMS:
        if head.startswith(bom):
            return encoding
    even, odd = head[0::2].count(0), head[1::2].count(0)
    for zeros, others, encoding in ((odd, even, "utf-16-le"), (even, odd, "utf-16-be")):
        if zeros * 4 > len(head) and others * 20 <= zeros:
            with suppress(UnicodeDecodeError):
                text = codecs.getincrementaldecoder(encoding)().decode(head)
                if "\0" not in text and not _CONTROL.search(text):  # else numbers of 16 bits, such as token ids
                    return encoding
    if even or odd:
        raise not_text(path)
    return "utf-8-sig"


def _text_format(text: str, suffix: str) -> str:
    """The format of a text that begins with `text`, without white space before."""
    announced = next((f.name for f in FORMATS if suffix in f.suffixes), "text")
    if announced in ("csv", "tsv"):
        return announced
    if announced != "jsonl" and not (_OBJECT.match(text) or _ARRAY.match(text)):
        return "text"
    if text.startswith("["):
        return "json"
    line, ended, _ = text.partition("\n")
    over_lines = ended and line.strip() and not line.rstrip().endswith("}")
    return "json" if over_lines and suffix not in (".jsonl", ".ndjson") else "jsonl"


def _check_prose(path: Path, text: str) -> None:
    """Raise `CorpusError` for a text that begins as markup, or whose lines are JSON objects after a first one that is not."""
    for beginning, description, remedy in MARKUP:
        if beginning.match(text):
            raise CorpusError(
                f"corpus file {path} is {description}: {remedy}; to read the markup itself, put it into a column of a JSONL file"
            )
    lines = [line for line in text.split("\n")[:50] if line.strip()]
    objects = sum(bool(_OBJECT.match(line)) and line.rstrip().endswith("}") for line in lines)
    if objects >= FEWEST_JSON_LINES and objects * 10 >= len(lines) * 8:
        raise CorpusError(f"corpus file {path} holds JSON lines after a first line that is none: remove that line")


def not_text(path: Path) -> CorpusError:
    """The error for a file with NUL bytes."""
    return CorpusError(
        f"corpus file {path} is not text: it holds NUL bytes; name text, JSON, CSV, Parquet or Arrow files in corpus.sources"
    )
