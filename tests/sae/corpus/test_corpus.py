"""Corpus: every text that goes in is read once and unchanged, in any format; unreadable sources are refused in one line."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from support.sae.corpora import BOS, TOKENIZER, documents, opened, write_jsonl

from sae.corpus import corpus as corpus_module
from sae.corpus import distinct_documents
from sae.errors import CorpusError
from sae.subject.token_text import token_texts


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTOINTERP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


TEXTS = ["one two\u2028three\nfour", "b" * 40, "日本語 😀", 'quote " and, comma']


def test_every_format_and_compression_yields_the_same_documents(tmp_path: Path) -> None:
    plain = write_jsonl(tmp_path / "a.jsonl", TEXTS).read_bytes()
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(plain))
    (tmp_path / "a.jsonl.zst").write_bytes(zstandard.compress(plain[:50]) + zstandard.compress(plain[50:]))
    pq.write_table(pa.table({"text": TEXTS, "other": [1, 2, 3, 4]}), tmp_path / "a.parquet", row_group_size=1)
    (tmp_path / "b.parquet.zst").write_bytes(zstandard.compress((tmp_path / "a.parquet").read_bytes()))
    table = io.StringIO(newline="")
    rows = csv.writer(table)
    rows.writerow(["target", "text"])
    rows.writerows([[1, text] for text in TEXTS])
    (tmp_path / "a.csv").write_text(table.getvalue(), newline="")
    (tmp_path / "text").mkdir()
    for number, text in enumerate(TEXTS):
        (tmp_path / "text" / f"{number}.py").write_text(text)
    for source in ("a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.parquet", "b.parquet.zst", "a.csv", "text/**/*.py"):
        assert documents(opened(tmp_path / source)) == TEXTS, source


@pytest.fixture
def uncut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves long documents whole."""
    monkeypatch.setattr(distinct_documents, "LEAST_CUT", 1 << 40)


@pytest.mark.usefixtures("uncut")
def test_hostile_documents_are_read_as_valid_text(tmp_path: Path) -> None:
    long = "<script>\x1b[31m" + "x" * 200_000
    texts = ["\ud800 lone", "pair \U0001f600", "a\x00b", "", "\u202eRTL שלום", long]
    path = write_jsonl(tmp_path / "a.jsonl", texts)
    expected = ["\ufffd lone", "pair \U0001f600", "a\x00b", "\u202eRTL שלום", long]
    assert documents(opened(path)) == expected
    (tmp_path / "b.txt").write_bytes("\u202e\x07".encode() + long.encode())
    (tmp_path / "c.csv").write_text('text\n"' + long.replace('"', "") + '"\n')
    assert documents(opened(tmp_path / "b.txt")) == ["\u202e\x07" + long]
    assert documents(opened(tmp_path / "c.csv", max_tokens=40_000)) == [long[:40_000]]


@pytest.mark.usefixtures("uncut")
def test_a_long_file_is_one_document_and_other_sources_are_read_too(tmp_path: Path) -> None:
    text = " ".join(str(n) for n in range(50_000))
    (tmp_path / "long.txt").write_text(text)
    write_jsonl(tmp_path / "short.jsonl", [f"s{n}" + "s" * 100 for n in range(1500)])
    whole = opened(tmp_path / "long.txt")
    assert documents(whole) == [text]
    assert whole.n_documents == 1
    both = opened(tmp_path / "long.txt", tmp_path / "short.jsonl", max_tokens=130_001)
    assert both.n_tokens == 130_001 == int(both.contexts["length"].sum()) == len(both.tokens)
    long_share = sum(len(d) for d in documents(both) if not d.startswith("s")) / both.n_tokens
    assert 0.4 < long_share < 0.6


def test_no_context_spans_two_documents_and_bos_counts_towards_its_length(tmp_path: Path) -> None:
    corpus = opened(write_jsonl(tmp_path / "a.jsonl", ["a" * 20, "b" * 15, "c" * 3]))
    assert corpus.contexts["length"].tolist() == [15, 5, 15, 3]
    assert corpus.contexts["document"].tolist() == [0, 0, 1, 2]
    assert corpus.contexts["position"].tolist() == [0, 15, 0, 0]
    assert opened(tmp_path / "a.jsonl", bos_id=None).contexts["length"].tolist() == [16, 4, 15, 3]


def test_batch_pads_on_the_right_and_counts_only_text(tmp_path: Path) -> None:
    corpus = opened(write_jsonl(tmp_path / "a.jsonl", ["abc", "<pad>z", "defgh"]))
    tokens, counted = corpus.batch(np.array([2, 0, 1]))
    assert tokens.dtype == np.int64
    assert tokens.shape == counted.shape == (3, 6)
    assert tokens[:, 0].tolist() == [BOS] * 3
    assert counted.tolist() == [
        [False] + [True] * 5,
        [False] + [True] * 3 + [False] * 2,
        [False, False, True] + [False] * 3,
    ]
    assert token_texts(TOKENIZER, tokens[0, 1:].tolist()) == list("defgh")
    assert tokens[1, 4:].tolist() == [0, 0]


def test_the_cache_is_keyed_by_content_and_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    write = corpus_module._write

    def counting(*arguments: Any) -> None:
        calls.append(1)
        write(*arguments)

    monkeypatch.setattr(corpus_module, "_write", counting)
    path = write_jsonl(tmp_path / "a.jsonl", TEXTS)
    first = opened(path)
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(path.read_bytes())
    assert opened(copy).fingerprint == first.fingerprint
    assert len(calls) == 1
    changed = write_jsonl(tmp_path / "a.jsonl", [*TEXTS, "more"])  # same path, other content
    fingerprints = {first.fingerprint, opened(changed).fingerprint}
    for change in ({"context_tokens": 17}, {"tokenizer_fingerprint": "u"}, {"max_tokens": 20}, {"bos_id": None}):
        fingerprints.add(opened(copy, **change).fingerprint)
    assert len(fingerprints) == 6 == len(calls)


def test_an_old_file_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", TEXTS)
    os.utime(path, (1, 1))
    fingerprint = opened(path).fingerprint
    monkeypatch.setattr(hashlib, "file_digest", None)
    assert opened(path).fingerprint == fingerprint


def test_an_interrupted_write_leaves_no_entry(tmp_path: Path, cache: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", TEXTS)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        opened(path, progress=stop)
    assert not [p for p in (cache / "corpora").iterdir() if p.name != "hashes"]
    assert documents(opened(path)) == TEXTS


def test_progress_ends_with_the_text(tmp_path: Path) -> None:
    path = tmp_path / "short.txt"
    path.write_text("a few words")
    told: list[tuple[int, int]] = []
    corpus = opened(path, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (corpus.n_tokens, corpus.n_tokens)


def test_datasets_are_streamed(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    pq.write_table(pa.table({"text": TEXTS}), folder / "train.parquet")
    assert documents(opened(f"datasets:{folder}")) == TEXTS
    with pytest.raises(CorpusError, match="nowhere"):
        opened(f"datasets:{folder}", split="nowhere")


def truncated(path: Path) -> str:
    data = zstandard.compress(b'{"text": "abc"}\n' * 10_000)
    path.write_bytes(data[: len(data) // 2])
    return str(path)


def test_errors_name_the_remedy_on_one_line(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", ["x"], field="content")
    pq.write_table(pa.table({"body": ["x"], "n": [1]}), tmp_path / "a.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 not really")
    (tmp_path / "broken.jsonl").write_text('{"text": "a"}\n{"text": \n')
    (tmp_path / "list.jsonl").write_text("[1]\n")
    (tmp_path / "number.jsonl").write_text('{"text": 1}\n')
    (tmp_path / "broken.txt.gz").write_bytes(gzip.compress(b"abc" * 10_000)[:-20])
    (tmp_path / "empty.txt").write_text("")
    cases = {
        "nothing-*.txt": "matches no file",
        "": "is a folder",
        "a.jsonl": "one of: id, content",
        "a.parquet": "one of: body, n",
        "broken.parquet": "cannot be read as parquet: it is no complete Parquet file: copy or download it again",
        "broken.jsonl": "line 2",
        "list.jsonl": "not a JSON object",
        "number.jsonl": "holds int",
        "broken.txt.gz": "cannot be read: it is truncated",
        Path(truncated(tmp_path / "t.jsonl.zst")).name: "truncated",
        "empty.txt": "every document",
    }
    for name, message in cases.items():
        with pytest.raises(CorpusError, match=message) as caught:
            opened(tmp_path / name)
        assert "\n" not in str(caught.value), name
    for source, message in (("datasets:", "malformed"), ("datasets:a@b@c", "malformed")):
        with pytest.raises(CorpusError, match=message):
            opened(source)
    with pytest.raises(CorpusError, match="no sources"):
        opened()
    with pytest.raises(CorpusError, match="no room"):
        opened(tmp_path / "empty.txt", context_tokens=1)
