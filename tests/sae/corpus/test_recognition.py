"""Recognition: the content of a file decides how it is read; what is not text is never read as prose."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import zstandard

from sae.corpus import recognition
from sae.corpus.sources import parse_source, read_source, recognise_file
from sae.errors import CorpusError

TEXTS = ["river stone lamp café", "music winter sugar 日本", 'train "garden" {silver}']
LINES = "".join(json.dumps({"text": text, "url": "https://example.org"}, ensure_ascii=False) + "\n" for text in TEXTS)
ARRAY = json.dumps([{"text": text} for text in TEXTS], indent=2)


def read(path: Path, field: str = "text") -> list[object]:
    return [piece for piece, _ in read_source(parse_source(str(path)), text_field=field, split="train")]


def refusal(path: Path, field: str = "text") -> str:
    with pytest.raises(CorpusError) as caught:
        read(path, field)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c4-train.00000-of-01024.json.gz", gzip.compress(LINES.encode(), mtime=0)),
        ("part-00000.gz", gzip.compress(LINES.encode(), mtime=0)),
        ("dolma.json.zst", zstandard.compress(LINES.encode())),
        ("lines.json", LINES.encode()),
        ("lines.txt", LINES.encode()),
        ("lines", LINES.encode()),
        ("lines.ndjson.bz2", bz2.compress(LINES.encode())),
        ("lines.jsonl", gzip.compress(LINES.encode(), mtime=0)),
        ("lines.jsonl", LINES.encode("utf-16")),
        ("two.jsonl.gz", gzip.compress(LINES[:40].encode(), mtime=0) + gzip.compress(LINES[40:].encode(), mtime=0)),
        ("array.json", ARRAY.encode()),
        ("array.json.xz", lzma.compress(ARRAY.encode())),
        ("array.jsonl", ARRAY.encode()),
        ("compact.json", json.dumps([{"text": text} for text in TEXTS]).encode("utf-8-sig")),
        ("array.txt", ARRAY.encode("utf-16-be")),
        ("objects.json", "\n".join(json.dumps({"text": text}, indent=1) for text in TEXTS).encode()),
    ],
)
def test_json_is_read_as_records_whatever_its_name(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert read(tmp_path / name) == TEXTS


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_unicode_text_is_read_in_any_of_its_encodings(tmp_path: Path, encoding: str) -> None:
    text = "Notes from the meeting.\r\nIn café: {not JSON}, [1] a reference\n" * 3
    (tmp_path / "notepad.txt").write_bytes(text.encode(encoding))
    assert read(tmp_path / "notepad.txt") == [text]


def test_a_last_character_that_is_cut_off_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "head.txt").write_bytes("日本語 und Grüße".encode()[:-2])
    assert read(tmp_path / "head.txt") == ["日本語 und Gr\xfc\ufffd"]


def _archive(kind: str) -> bytes:
    data = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(data, "w") as archive:
            archive.writestr(zipfile.ZipInfo("a.txt"), "text")
    else:
        with tarfile.open(fileobj=data, mode="w") as archive_:
            archive_.addfile(tarfile.TarInfo("a.txt"))
    return data.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl.gz", LINES.encode(), "named .gz but is not compressed: rename it to a.jsonl"),
        ("a.txt.zst", b"<html>404 Not Found</html>", "named .zst but is not compressed"),
        ("a.json.gz", b"", "named .gz but is empty"),
        ("a.json.gz", gzip.compress(gzip.compress(LINES.encode(), mtime=0), mtime=0), "compressed twice"),
        ("a.jsonl", LINES.encode("latin-1", "replace").replace(b"caf?", b"caf\xe9"), "is not UTF-8 (it holds the byte 0xe9)"),
        ("a.txt", "Grüße".encode("latin-1"), "iconv"),
        ("a.txt", "one word: caf\xe9".encode("latin-1"), "is not UTF-8 (at its end)"),
        ("a.csv", "text\nпривет мир\n".encode("cp1251"), "is not UTF-8"),
        ("a.txt", "日本語のテキスト".encode("shift-jis"), "is not UTF-8"),
        ("a.txt", b"text \x00 with NUL", "not text: it holds NUL bytes"),
        ("late.txt", b"text " * 20_000 + b"\x00", "not text: it holds NUL bytes"),
        ("late.jsonl", b'{"text": "a"}\n' * 9_000 + b'{"text": "\x00"}\n', "not text: it holds NUL bytes"),
        ("late.txt", b"text " * 20_000 + b"caf\xe9 " * 9, "is not UTF-8"),
        ("weights.bin", np.arange(100, dtype=np.float32).tobytes(), "not text"),
        ("a.docx", _archive("zip"), "unpack it"),
        ("a.tar.gz", gzip.compress(_archive("tar"), mtime=0), "tar archive: unpack it"),
        ("a.pdf", b"%PDF-1.7 \xe2\xe3", "pdftotext"),
        ("a.parquet", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        ("a.parquet", b"<html>", "named .parquet but does not begin as Parquet does"),
        ("a.arrow", LINES.encode(), "named .arrow but does not begin as Arrow IPC does"),
        ("a.txt", b"{'text': 'a Python dict'}\n", "line 1, is not JSON"),
        ("package.json", b'{\n  "name": "x",\n  "version": "1"\n}', "no field 'text': set corpus.text_field to one of: name, version"),
        ("page.txt", b"<!DOCTYPE html>\n<html><p>text</p></html>", "is an HTML page: extract its text"),
        ("dump.xml.bz2", bz2.compress(b'<mediawiki xmlns="http://x"><page/></mediawiki>'), "is XML: extract its text"),
        ("crawl.warc.wet.gz", gzip.compress(b"WARC/1.0\r\nWARC-Type: conversion\r\n", mtime=0), "is a WARC of crawled pages"),
        ("a.txt", b"# exported on Monday\n" + LINES.encode() * 4, "JSON lines after a first line that is none"),
        ("a.txt", b"id,text\n1,river stone\n", "begins as a table with the column 'text': name it .csv"),
        ("a", b"text\tid\nriver stone\t1\n", "name it .tsv to read it as one"),
        ("train.bin", np.arange(3, 60, dtype=np.uint16).tobytes() * 9, "is not text"),
        ("val.bin", np.random.default_rng(0).integers(0, 50257, 9999).astype(np.uint16).tobytes(), "is not text"),
        ("a.jsonl.lzma", lzma.compress(LINES.encode(), format=lzma.FORMAT_ALONE), "unpack it"),
        ("a.jsonl.Z", b"\x1f\x9d\x90" + bytes(99), "unpack it"),
        ("shard-000000.tar", _archive("tar"), "tar archive: unpack it"),
        ("tokens.npy", b"\x93NUMPY\x01\x00", "is a NumPy array"),
        ("a.csv", b"text,text\na,b\n", "has 2 columns named 'text'"),
        ("a.jsonl.bz2", bz2.compress(LINES.encode() * 99)[:-20], "cannot be read"),
        ("a.jsonl.xz", lzma.compress(LINES.encode() * 99)[:-20], "cannot be read"),
        ("a.jsonl.gz", gzip.compress(LINES.encode(), mtime=0)[:-8] + b"\0" * 8, "CRC"),
    ],
)  # fmt: skip
def test_what_is_not_text_is_refused_with_the_remedy(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert message in refusal(tmp_path / name)


@pytest.mark.parametrize(
    "words",
    [
        "ORCHESTRAS play.",
        "PAREIDOLIA is",
        "BZh",
        "[1] Smith et al.",
        "{curly} words",
        "a,b\nc",
        "a text, with commas\n",
        "<p>markup",
        "The log:\n" + '{"a": 1}\n' * 4,
        "WARC/1.0 is a format",
        "text, and more",
    ],
)
def test_prose_that_resembles_another_format_stays_prose(tmp_path: Path, words: str) -> None:
    (tmp_path / "a.txt").write_text(words + " More words.")
    assert read(tmp_path / "a.txt") == [words + " More words."]


def test_names_of_formats_that_existed_before_stay_the_same_in_cache_keys(tmp_path: Path) -> None:
    kinds = {"a.jsonl": LINES, "a.csv": "text\na\n", "a.txt": "prose", "a.py": "print(1)"}
    for name, content in kinds.items():
        (tmp_path / name).write_text(content)
    assert [recognise_file(tmp_path / name).kind for name in kinds] == ["jsonl", "csv", "text", "text"]
    (tmp_path / "a.txt").write_bytes("prose".encode("utf-16"))
    assert recognise_file(tmp_path / "a.txt").kind == "text utf-16"


def test_a_zstd_bomb_is_unpacked_in_small_portions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.zst").write_bytes(zstandard.compress(b"a" * (1 << 27)))
    stream = recognition._ZstdFile(tmp_path / "a.zst")
    try:
        stream.read(1)
        assert len(stream._ready) < 1 << 26
    finally:
        stream.close()


def test_a_glob_of_tables_and_a_readme_is_refused_and_an_empty_file_beside_tables_is_not(tmp_path: Path) -> None:
    (tmp_path / "part-0.jsonl").write_text(LINES)
    (tmp_path / "_SUCCESS").write_bytes(b"")
    assert [text for text in read(tmp_path / "*") if text] == TEXTS
    (tmp_path / "README.md").write_text("# The data\n")
    assert "both text files, such as" in refusal(tmp_path / "*")
    assert read(tmp_path / "*.jsonl") == TEXTS


@pytest.mark.parametrize(
    ("source", "advice"),
    [
        ("roneneldan/TinyStories", "write datasets:roneneldan/TinyStories"),
        ("hf://datasets/a/b/data/train.parquet", "write datasets:a/b"),
        ("https://huggingface.co/datasets/a/b/resolve/main/x.jsonl", "write datasets:a/b"),
        ("s3://bucket/x.jsonl", "from this machine only, so download it"),
        ("missing.jsonl", "matches no file: check the path"),
        ("x" * 5000, "x cannot be read: File name too long: check the path"),
    ],
)
def test_a_source_that_is_no_file_is_refused_with_what_to_write(source: str, advice: str) -> None:
    with pytest.raises(CorpusError, match=advice):
        parse_source(source)


@pytest.mark.parametrize(
    "names", [("README.md", "data/train-0.parquet", "data/train-1.parquet"), ("a.jsonl.gz", "b.jsonl.gz")]
)
def test_a_folder_is_refused_with_a_glob_of_the_files_that_it_holds(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(CorpusError) as caught:
        parse_source(str(tmp_path))
    assert str(caught.value).endswith(f"{tmp_path}/**/*{''.join(Path(names[-1]).suffixes)}")
