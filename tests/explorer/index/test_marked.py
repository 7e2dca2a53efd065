"""The tokens at which units are strongest are those of their examples, in an index of an earlier version too."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import explorer_index

from autointerp.explorer.index import marked, schema
from autointerp.explorer.index.folder import EXAMPLES, UNITS, IndexFolder
from autointerp.explorer.search.query import Query
from autointerp.explorer.search.reader import Reader

UNITS_OF_TOKENS = st.lists(st.lists(st.sampled_from("abcdefghijklmno"), max_size=24), max_size=5)


@given(UNITS_OF_TOKENS, st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_the_most_frequent_come_first_and_of_equal_ones_the_strongest(units: list[list[str]], first: int) -> None:
    rows = [
        {"row": first + place, "bin": bin_, "mark": 1, "tokens": ["x", token, "y"]}
        for place, tokens in enumerate(units)
        for bin_, shown in ((0, tokens), (10, ["never"]))
        for token in shown
    ]
    table = pa.Table.from_pylist(rows, pa.schema([schema.EXAMPLES.field(name) for name in marked.NEEDED]))
    lists = marked.of_examples(table, first, first + len(units)).to_pylist()
    assert lists == [[token for token, _ in Counter(tokens).most_common(schema.TOKENS)] for tokens in units]


def older(folder: IndexFolder) -> IndexFolder:
    """The index as an earlier version wrote it, with the units 64 to 127 silent."""
    units = pq.read_table(folder.path / UNITS)
    pq.write_table(units.drop_columns([marked.MARKED]), folder.path / UNITS, row_group_size=schema.UNIT_ROWS)
    with pq.ParquetFile(folder.path / EXAMPLES) as file:
        groups = [file.read_row_group(number) for number in (0, 2)]
    with folder.writer(EXAMPLES) as writer:
        for group in groups:
            writer.write_table(group)
    folder.finish(folder.about.model_copy(update={"groups": [(0, 64, 0), (128, 12, 1)]}))
    return IndexFolder(folder.path)


def test_an_index_of_an_earlier_version_is_searched_and_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = explorer_index.make(tmp_path / "index", labelled=0)
    whole = folder.table(UNITS)
    assert folder.is_current(UNITS)
    before = older(folder)
    assert not before.is_current(UNITS)
    monkeypatch.setattr(schema, "UNIT_ROWS", 50)
    found = {name: Reader(before).find(Query.of({"q": name})).tolist() for name in ("dogs", "rain", "nowhere")}
    marked.add(before)
    completed = IndexFolder(folder.path)
    assert completed.is_current(UNITS)
    lists = completed.table(UNITS)[marked.MARKED].to_pylist()
    assert lists[64:128] == [[]] * 64
    assert lists[:64] + lists[128:] == whole[marked.MARKED].to_pylist()[:64] + whole[marked.MARKED].to_pylist()[128:]
    assert completed.table(UNITS).drop_columns(["marked"]).equals(whole.drop_columns(["marked"]))
    assert found == {name: Reader(completed).find(Query.of({"q": name})).tolist() for name in found}
    assert found["dogs"]


def test_the_examples_of_a_very_large_index_of_an_earlier_version_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = older(explorer_index.make(tmp_path / "index", labelled=0))
    monkeypatch.setattr("autointerp.explorer.search.reader.MOST_EXAMPLES_READ", 100)
    [card] = Reader(before).cards(Reader(before).find(Query())[:1])
    assert card["marked"] == []
    assert card["promoted"]
