"""Searches of a small index, compared with pandas over the same files, and the parts of a unit."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import explorer_index

from autointerp.errors import UsageError
from autointerp.explorer.index.folder import LABELS, UNITS, IndexFolder
from autointerp.explorer.search.columns import KINDS, KNOWN, NUMBERS
from autointerp.explorer.search.query import Query
from autointerp.explorer.search.reader import Reader
from autointerp.judges.embedded.word_vectors import lexicon

N_FEATURES, N_NEURONS = 120, 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> IndexFolder:
    return explorer_index.make(tmp_path_factory.mktemp("index"), n_features=N_FEATURES, n_neurons=N_NEURONS)


@pytest.fixture(scope="module")
def reader(folder: IndexFolder) -> Reader:
    return Reader(folder)


@pytest.fixture(scope="module")
def table(folder: IndexFolder) -> pd.DataFrame:
    """All units with their labels."""
    units = pd.read_parquet(folder.path / UNITS)
    return units.merge(pd.read_parquet(folder.path / LABELS), on="row", how="left")


columns = st.sampled_from(NUMBERS)


@st.composite
def ranges(draw: st.DrawFn, table: pd.DataFrame) -> dict[str, str]:
    """Ranges of a few columns whose ends are values of the column."""
    written = {}
    for name in draw(st.sets(columns, max_size=2)):
        values = sorted(table[name].dropna().tolist())
        low, high = (draw(st.none() | st.sampled_from(values)) for _ in range(2))
        if low is not None or high is not None:
            written[name] = f"{'' if low is None else repr(float(low))}..{'' if high is None else repr(float(high))}"
    return written


@given(data=st.data())
def test_filters_and_orders_are_those_of_pandas(data: st.DataObject, reader: Reader, table: pd.DataFrame) -> None:
    written = data.draw(ranges(table))
    kind = data.draw(st.sampled_from(["", *KINDS]))
    explained = data.draw(st.sampled_from(["", "yes", "no"]))
    sort, descending = data.draw(columns), data.draw(st.booleans())
    kept = table
    for name, text in written.items():
        low, _, high = text.partition("..")
        kept = kept[kept[name].notna()]
        kept = kept[kept[name] >= float(low)] if low else kept
        kept = kept[kept[name] <= float(high)] if high else kept
    kept = kept[kept["kind"] == kind] if kind else kept
    kept = kept[kept["explanation"].notna() == (explained == "yes")] if explained else kept
    ordered = kept.sort_values(sort, ascending=not descending, kind="stable", na_position="last")
    query = Query.of(written | {"kind": kind, "explained": explained, "sort": f"{'-' if descending else ''}{sort}"})
    assert reader.find(query).tolist() == ordered["row"].tolist()


def test_words_are_found_at_their_beginning_in_explanations_and_among_marked_and_promoted_tokens(
    reader: Reader, table: pd.DataFrame
) -> None:
    found = set(reader.find(Query.of({"q": "LEG football"})).tolist())
    expected = set()
    for unit in table.itertuples():
        words = [] if pd.isna(unit.explanation) else unit.explanation.split()
        words += [entry["token"].strip() for entry in unit.promoted]
        strongest = [example for example in reader.unit(unit.row)["examples"] if example["bin"] == 0]
        words += [example["tokens"][example["mark"]].strip() for example in strongest]
        if all(any(word.startswith(asked) for word in words) for asked in ("leg", "football")):
            expected.add(unit.row)
    assert found == expected
    assert 0 < len(found) < len(table)


def test_units_with_the_whole_words_in_their_explanation_come_first(reader: Reader, table: pd.DataFrame) -> None:
    rows = reader.find(Query.of({"q": "legal"}))
    whole = ["legal" in str(table["explanation"][row]).split() for row in rows]
    assert whole == sorted(whole, reverse=True)
    assert {True, False} == set(whole)


def text_vector(text: str) -> np.ndarray:
    """As `autointerp find --meaning` computes it."""
    words = lexicon()
    total = sum((words.weight(word) + 1e-3) * words.word(word) for word in text.lower().split())
    return np.asarray(total / np.linalg.norm(total))


def test_meaning_is_the_cosine_without_what_all_explanations_share(reader: Reader, table: pd.DataFrame) -> None:
    explained = table[table["explanation"].notna()]
    vectors = np.array([text_vector(text) for text in explained["explanation"]])
    own, common = text_vector("a judge decides in court"), vectors.mean(axis=0)
    vectors, own = vectors - common, own - common * float(own @ common)
    cosines = vectors @ own / np.linalg.norm(vectors, axis=1) / np.linalg.norm(own)
    rows = reader.find(Query.of({"meaning": "a judge decides in court"}))
    place = dict(zip(explained["row"], cosines, strict=True))
    assert sorted(rows.tolist()) == sorted(place)
    assert np.diff([place[row] for row in rows.tolist()]).max() < 1e-5


def test_a_text_without_words_is_an_error_in_one_line(reader: Reader) -> None:
    for name in ("q", "meaning"):
        with pytest.raises(UsageError, match="no word"):
            reader.find(Query.of({name: "!?"}))


def test_a_card_shows_what_the_files_hold(reader: Reader, table: pd.DataFrame) -> None:
    rows = np.arange(20)
    for card, row in zip(reader.cards(rows), rows, strict=True):
        unit = table.loc[row]
        assert card["unit_id"] == unit["unit_id"]
        assert card["kind"] == unit["kind"]
        assert card["explanation"] == (None if pd.isna(unit["explanation"]) else unit["explanation"])
        assert card["density"] == pytest.approx(unit["density"], rel=1e-3)
        assert ("marked" in card) == ("promoted" in card) == (card["explanation"] is None)
        if card["explanation"] is None:
            examples = pd.DataFrame(reader.unit(int(row))["examples"]).query("bin == 0")
            marked = [tokens[mark] for tokens, mark in zip(examples["tokens"], examples["mark"], strict=True)]
            assert card["marked"] == [token for token, _ in Counter(marked).most_common(4)]
            assert card["promoted"] == [entry["token"] for entry in unit["promoted"][:4]]
        assert max(card["spark"]) == 100
        for name in KNOWN:
            assert card[name] == (None if pd.isna(unit[name]) else pytest.approx(unit[name], rel=1e-3))


def test_a_unit_has_its_examples_in_order_and_the_names_of_its_neighbours(reader: Reader) -> None:
    unit = reader.unit(100)
    assert unit["unit_id"] == "feature-100"
    assert [example["bin"] for example in unit["examples"]] == [0] * 5 + [b for b in range(10, 0, -1) for _ in range(2)]
    assert {example["row"] for example in unit["examples"]} == {100}
    for entry in unit["nearest"] + unit["together"]:
        assert entry["unit_id"] == reader.columns.unit_ids[entry["row"]].as_py()


def test_the_strongest_example_is_cut_around_its_mark(reader: Reader) -> None:
    whole = reader.unit(7)["examples"][0]
    part = reader.strongest(7)
    assert part is not None
    assert part["tokens"][part["mark"]] == whole["tokens"][whole["mark"]]
    assert len(part["tokens"]) == len(part["activations"]) < len(whole["tokens"])
    assert part["activations"][part["mark"]] == pytest.approx(whole["activation"], rel=1e-3)


def test_a_label_that_was_asked_for_leads_one_that_was_propagated(tmp_path: Path) -> None:
    folder = explorer_index.make(tmp_path, n_features=3, n_neurons=0, labelled=0)
    labels = pd.DataFrame(
        {
            "row": [1, 1, 1], "explanation": ["guessed", "first", "second"], "source": ["propagated", "run:a", "live"],
            "judge": ["", "j", "j"], "grade": [None, 1.0, 2.0], "distinction": [None] * 3, "probability": [0.9, None, None],
        }
    )  # fmt: skip
    folder.write_table(LABELS, pa.Table.from_pandas(labels, preserve_index=False))
    reader = Reader(folder)
    assert [label["explanation"] for label in reader.unit(1)["labels"]] == ["first", "guessed", "second"]
    assert reader.cards(np.array([1]))[0]["grade"] == 1.0
    assert reader.unit(0)["labels"] == []
    assert reader.find(Query.of({"q": "guessed"})).tolist() == []


@pytest.mark.parametrize("labelled", [0.0, 1.0])
def test_an_index_without_labels_or_neurons_can_be_searched(tmp_path: Path, labelled: float) -> None:
    reader = Reader(explorer_index.make(tmp_path, n_features=5, n_neurons=0, labelled=labelled))
    assert len(reader.find(Query.of({"q": "zzz"}))) == 0
    assert len(reader.find(Query.of({"meaning": "law"}))) == (5 if labelled else 0)
    assert len(reader.cards(reader.find(Query()))) == 5
