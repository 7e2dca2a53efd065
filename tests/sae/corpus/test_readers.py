"""Readers: records of every format, streamed, with limits; tables that would lose text are refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import feather

from sae.corpus import readers, text
from sae.corpus.sources import parse_source, read_source
from sae.errors import CorpusError

TEXTS = ["river stone lamp", "music, winter", "train; garden"]


def read(source: Path | str, field: str = "text", split: str = "train") -> list[Any]:
    pieces = read_source(parse_source(str(source), split), text_field=field, split=split)
    return [piece for piece, _ in pieces]


def refusal(source: Path | str, field: str = "text", split: str = "train") -> str:
    with pytest.raises(CorpusError) as caught:
        read(source, field, split)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_arrow_files_and_streams_are_read_also_compressed(tmp_path: Path) -> None:
    table = pa.table({"text": pa.array(TEXTS, pa.large_string()), "n": [1, 2, 3]})
    with pa.OSFile(str(tmp_path / "stream.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    with pa.OSFile(str(tmp_path / "file.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    feather.write_feather(table, tmp_path / "a.feather", compression="lz4")
    (tmp_path / "file.arrow.gz").write_bytes(gzip.compress((tmp_path / "file.arrow").read_bytes()))
    words = pa.table({"text": pa.array(TEXTS).dictionary_encode()})
    pq.write_table(words, tmp_path / "noname")
    for name in ("stream.arrow", "file.arrow", "a.feather", "file.arrow.gz", "noname"):
        assert read(tmp_path / name) == TEXTS, name
    assert "one of: text, n" in refusal(tmp_path / "file.arrow", "body")
    (tmp_path / "cut.arrow").write_bytes((tmp_path / "file.arrow").read_bytes()[:200])
    assert "cannot be read as arrow" in refusal(tmp_path / "cut.arrow")


def test_saved_datasets_are_read_by_path_and_as_datasets(tmp_path: Path) -> None:
    saved = datasets.Dataset.from_dict({"text": TEXTS})
    saved.select([2, 0]).save_to_disk(str(tmp_path / "saved"), num_shards=2)
    assert read(tmp_path / "saved") == read(f"datasets:{tmp_path / 'saved'}") == [TEXTS[2], TEXTS[0]]
    datasets.DatasetDict({"train": saved, "test": saved.select([1])}).save_to_disk(str(tmp_path / "dict"))
    assert read(tmp_path / "dict") == TEXTS
    assert read(tmp_path / "dict", split="test") == [TEXTS[1]]
    assert "set corpus.split to one of: train, test" in refusal(tmp_path / "dict", split="validation")
    next((tmp_path / "saved").glob("*.arrow")).unlink()
    assert "copy the whole folder" in refusal(tmp_path / "saved")
    (tmp_path / "saved" / "state.json").write_text("{")
    assert "damaged save_to_disk folder" in refusal(tmp_path / "saved")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("comma.csv", 'n,text\n1,river stone lamp\n2,"music, winter"\n3,train; garden\n'),
        ("semicolon.csv", 'n;text\r\n1;river stone lamp\r\n2;music, winter\r\n3;"train; garden"\r\n'),
        ("tab.tsv", "n\ttext\n1\triver stone lamp\n2\tmusic, winter\n3\ttrain; garden\n"),
        ("tab.csv", "text\tn\nriver stone lamp\t1\nmusic, winter\t2\ntrain; garden\t3\n"),
    ],
)
def test_tables_of_text_are_read_with_the_delimiter_that_makes_the_column(
    tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / name).write_text(content, newline="")
    assert read(tmp_path / name) == TEXTS


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text\nhello, world\n", "line 2, has 2 fields, the header 1"),
        ("a,b\n1,2\n", "set corpus.text_field to one of: a, b"),
        ('text\n"never closed\nmore\n', "unexpected end of data"),
    ],
)
def test_tables_whose_text_would_be_cut_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a.csv").write_text(content)
    assert message in refusal(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"text": "a"}, 3]', "item 2, is not a JSON object"),
        ('[{"text": "a"}, {"text": }]', "item 2, is not JSON"),
        ('[{"text": "a"}, {"text": "b', "item 2, is not JSON"),
        ('[{"text": "a"},\n{"txt": "b"}]', "item 2, has no field 'text'"),
        ('{"text": "a"}\n{"text": ' + "[" * 5000 + "\n", "line 2, is not JSON"),
        ('[{"text": ' + "[" * 200_000, "item 1, is not JSON"),
    ],
)
def test_broken_json_is_refused_with_its_place(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a.json").write_text(content)
    assert message in refusal(tmp_path / "a.json")


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=30), min_size=1, max_size=8), st.sampled_from([None, 1]))
def test_an_array_is_read_whole_wherever_its_blocks_end(texts: list[str], indent: int | None) -> None:
    document = json.dumps([{"text": t} for t in texts], indent=indent, ensure_ascii=False)

    class Blocks:
        path = Path("a.json")

        def __init__(self, size: int) -> None:
            self.size = size

        def blocks(self) -> Any:
            return (document[i : i + self.size] for i in range(0, len(document), self.size))

    for size in (1, 7, 10_000):
        source: Any = Blocks(size)
        assert [record["text"] for _, record in readers._json_values(source)] == texts


@pytest.mark.parametrize(
    ("name", "start"),
    [("a.jsonl.gz", b'{"text": "'), ("a.jsonl.gz", b""), ("a.json.gz", b'[{"text": "'), ("a.csv.gz", b'text\n"'), ("a.tsv.gz", b"text\tb\n")],
)  # fmt: skip
def test_an_endless_line_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, start: bytes
) -> None:
    for module in (text, readers):
        monkeypatch.setattr(module, "LONGEST_DOCUMENT", 100_000)
    (tmp_path / name).write_bytes(gzip.compress(start + b"x" * 5_000_000))
    blocks = []
    monkeypatch.setattr(readers.TextFile, "_read", counted(readers.TextFile._read, blocks))
    message = refusal(tmp_path / name)
    assert "100,000" in message or "100000" in message
    assert sum(blocks) < 600_000


def counted(read_: Any, sizes: list[int]) -> Any:
    def read_counted(self: Any, read: Any, size: int) -> str:
        result: str = read_(self, read, size)
        sizes.append(len(result))
        return result

    return read_counted


def test_an_endless_text_is_read_in_pieces(tmp_path: Path) -> None:
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"x" * 5_000_000))
    pieces = read(tmp_path / "a.txt.gz")
    assert "".join(pieces) == "x" * 5_000_000
    assert max(map(len, pieces)) < 1_200_000


def test_a_compressed_parquet_file_beyond_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "LARGEST_UNPACKED", 1 << 20)
    (tmp_path / "a.parquet.gz").write_bytes(gzip.compress(b"PAR1" + b"\0" * (3 << 20)))
    assert "unpack it before" in refusal(tmp_path / "a.parquet.gz")


SENTENCES = [
    f"The {place} is open in summer{end}"
    for place, end in zip(
        ["harbour", "museum", "garden", "station", "bridge", "market", "tower", "river"],
        [".", "!", "?", "…", ".”", ".)", "。", "."],
        strict=True,
    )
]
WRAPPED = [
    "The harbour is open in summer, and the museum",
    "is not. In the garden there is a",
    "bridge.",
    "The end.",
] * 8


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\n\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_lone_text_file_with_a_sentence_a_line_is_a_document_a_line(
    tmp_path: Path, newline: str, encoding: str
) -> None:
    (tmp_path / "list.txt").write_bytes((newline.join(SENTENCES * 9) + newline).encode(encoding))
    assert read(tmp_path / "list.txt") == SENTENCES * 9


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("book.txt", WRAPPED),
        ("short.txt", SENTENCES[:7]),
        ("README.md", SENTENCES),
        ("code.txt", ["return 1;", "}"] * 20),
    ],
)
def test_other_text_is_one_document_a_file(tmp_path: Path, name: str, lines: list[str]) -> None:
    text = "\n".join(lines)
    (tmp_path / name).write_text(text)
    assert "".join(map(str, read(tmp_path / name))) == text


def test_several_text_files_are_a_document_each(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("\n".join(SENTENCES))
    assert read(tmp_path / "*.txt") == ["\n".join(SENTENCES)] * 2


def test_a_line_longer_than_a_piece_stays_one_document(tmp_path: Path) -> None:
    long = "word " * 300_000 + "end."
    (tmp_path / "long.txt").write_text("\n".join([*SENTENCES, long, "Last."]))
    pieces = list(read_source(parse_source(str(tmp_path / "long.txt"), "train"), text_field="text", split="train"))
    assert sum(last for _, last in pieces) == len(SENTENCES) + 2
    assert "".join(str(piece) for piece, _ in pieces) == "".join([*SENTENCES, long, "Last."])
