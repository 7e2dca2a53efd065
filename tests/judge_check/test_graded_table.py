"""Graded sets in tables: CSV files, sheets of `autointerp label`, and files with one JSON object per line."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.errors import UsageError
from autointerp.judge_check import graded_table
from autointerp.judge_check.graded_set import GradedSet

ROWS = [
    {"explanation": "rivers", "marked": "across the <<Oder>> at dawn", "grade": 3},
    {"explanation": "prices", "marked": "10\u00a0<<euros>>\u2009\u20ac,\u3000net\r\n", "grade": 2.5},
    {"explanation": "rivers", "marked": "an <<order>> form", "grade": 0, "why": "no river", "trap": "lookalike"},
]


def write(path: Path, rows: list[dict[str, object]], delimiter: str = ",") -> Path:
    if path.suffix == ".jsonl":
        path.write_text(
            "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8", newline=""
        )
        return path
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        table = csv.DictWriter(file, list({name: None for row in rows for name in row}), delimiter=delimiter)
        table.writeheader()
        table.writerows(rows)
    return path


def load(path: Path) -> GradedSet:
    return graded_table.load(path)


@pytest.mark.parametrize(
    ("name", "delimiter"), [("My set.csv", ","), ("My set.csv", ";"), ("My set.tsv", "\t"), ("My set.jsonl", "")]
)
def test_a_table_is_a_set_whose_items_keep_every_character(name: str, delimiter: str, tmp_path: Path) -> None:
    found = load(write(tmp_path / name, ROWS, delimiter))
    assert (found.name, found.rubric, found.source) == ("my-set", "specificity", name)
    assert [(i.id, i.explanation, i.entry.grade, i.entry.why) for i in found.items] == [
        ("1a", "rivers", 3, ""),
        ("1b", "rivers", 0, "no river"),
        ("2a", "prices", 2.5, ""),
    ]
    assert found.items[2].entry.window.text == "10\u00a0euros\u2009\u20ac,\u3000net\r\n"
    assert found.traps == {"lookalike": "lookalike"}


def test_the_version_follows_the_rows(tmp_path: Path) -> None:
    first = load(write(tmp_path / "a.csv", ROWS)).version
    assert load(write(tmp_path / "a.jsonl", ROWS)).version == first
    assert load(write(tmp_path / "a.csv", ROWS[:2])).version != first


def test_a_sheet_with_scores_is_a_graded_set(tmp_path: Path) -> None:
    """The columns of `autointerp label --export`; a comma in a fraction, as spreadsheets of many languages write it."""
    sheet = {"number": 7, "explanation": "rivers", "text": "the <<Oder>>", "score": "2,5", "run": "demo-1"}
    [item] = load(write(tmp_path / "sheet.csv", [sheet], ";")).items
    assert (item.entry.marked, item.entry.grade) == ("the <<Oder>>", 2.5)


def test_items_beyond_the_alphabet_have_readable_ids(tmp_path: Path) -> None:
    rows = [{"explanation": "rivers", "marked": f"<<{i}>>", "grade": 0} for i in range(26 * 27 + 1)]
    ids = [item.id for item in load(write(tmp_path / "a.jsonl", rows)).items]
    assert (ids[0], ids[25], ids[26], ids[27], ids[-2], ids[-1]) == ("1a", "1z", "1aa", "1ab", "1zz", "1aaa")
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "explanation,marked,grade\nrivers,the <<Oder>>,\n", "line 2: grade is missing"),
        ("a.csv", "explanation,marked,grade\nrivers,the Oder,3\n", "mark exactly one token"),
        ("a.csv", "explanation,marked,grade\nrivers,<<Oder>>,high\n", "line 2: grade"),
        ("a.csv", 'explanation,marked,grade\nrivers,"<<Oder>>,3\n', "unexpected end of data"),
        ("a.csv", "explanation,marked,grade\n", "no items"),
        ("a.csv", "explanation,marked,grade,rubric\na,<<a>>,1,x\na,<<b>>,1,y\n", "one rubric at a time"),
        ("a.jsonl", '{"explanation": "rivers"', "line 1 is not JSON"),
        ("a.jsonl", "\n[1, 2]\n", "line 2 is not an object"),
        ("a.jsonl", '{"explanation": "rivers", "marked": "<<a>>", "grade": NaN}', "grade"),
        ("a.jsonl", '{"explanation": "rivers", "marked": "<<a>>", "grade": -1}', "grade"),
    ],
)
def test_a_wrong_table_is_refused_in_one_line(name: str, text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UsageError, match=re.escape(words)) as refused:
        load(path)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"explanation,marked,grade\nrivers,<<fjord\xe9>>,3\n")
    with pytest.raises(UsageError, match="it is not UTF-8"):
        load(tmp_path / "a.csv")


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<>⟪⟫"), max_size=30))
def test_no_character_of_a_text_is_lost(text: str) -> None:
    entry = graded_table.Row(explanation="any", marked=f"{text}<<x>>{text}", grade=1).entry
    assert entry.window.text == f"{text}x{text}"
    assert entry.window.tokens[entry.window.mark] == "x"
