"""Texts in memory as files that a spec can name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch

from autointerp.api.texts import source_of
from autointerp.errors import UsageError


def lines(texts: Any, folder: Path, **more: Any) -> list[Any]:
    source = source_of(texts, folder, max_tokens=more.pop("max_tokens", 1000), **more)
    [path] = source.entries
    return [json.loads(line)[source.column or "text"] for line in Path(path).read_text().splitlines()]


def test_strings_rows_and_ids_are_documents(tmp_path: Path) -> None:
    texts = ["one\ntext", "another \ud800"]
    assert lines(texts, tmp_path) == texts
    assert lines(tuple(texts), tmp_path) == texts
    rows = datasets.Dataset.from_dict({"body": ["a", "b"]})
    assert lines(rows, tmp_path, column="body") == ["a", "b"]
    assert lines(torch.tensor([[1, 2], [3, 4]]), tmp_path) == [[1, 2], [3, 4]]
    chat = [[{"role": "user", "content": "hello"}]]
    assert lines(chat, tmp_path) == chat


def test_equal_texts_are_one_file(tmp_path: Path) -> None:
    first, again = (source_of(["a", "b"], tmp_path, max_tokens=1000) for _ in range(2))
    assert first == again
    assert len(list(tmp_path.iterdir())) == 1


def test_a_stream_is_read_no_further_than_its_tokens_need(tmp_path: Path) -> None:
    endless = (f"document {number}" for number in iter(int, 1))
    assert len(lines(endless, tmp_path, max_tokens=100)) < 1000


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (3, "texts is a int"),
        ([], "texts is empty"),
        ([b"x"], "texts\\[0\\] is a bytes"),
        (["a", [1, 2]], "input_ids and text"),
        ([{"body": "x"}], "no column 'text'"),
    ],
)
def test_other_things_are_refused_in_one_line(tmp_path: Path, texts: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        source_of(texts, tmp_path, max_tokens=1000)
