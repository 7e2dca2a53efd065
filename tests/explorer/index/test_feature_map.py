"""The map of an index: groups of features that are alike become clusters, named by what their words mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from support import explorer_index

from autointerp.explorer.index import feature_map, schema
from autointerp.explorer.index.cluster_names import word_at
from autointerp.explorer.index.folder import EXAMPLES, LABELS, MAP, UNITS, IndexFolder

THEMES = (
    ("dollars", "price", "funds", "payment", "wages", "budget"),
    ("violin", "guitar", "melody", "orchestra", "singer", "piano"),
    ("cancer", "surgery", "hospital", "disease", "therapy", "tumor"),
)
EACH = 32


def alike_in_groups(path: Path, column: str) -> IndexFolder:
    """An index whose features are alike within groups of `EACH`, each with a word of its group's theme as explanation."""
    n = EACH * len(THEMES)
    folder = explorer_index.make(path, n_features=n, n_neurons=3, labelled=0)
    generator, units = np.random.default_rng(0), folder.table(UNITS)
    value = {"nearest": "cosine", "together": "share"}[column]
    alike = [
        [{"row": int(row), value: 0.5} for row in generator.permutation(EACH)[:10] + i // EACH * EACH] for i in range(n)
    ]
    nothing: list[list[object]] = [[]] * len(units)
    for name in ("nearest", "together"):
        kind = schema.UNITS.field(name).type
        lists = [*alike, [], [], []] if name == column else nothing
        units = units.set_column(units.schema.get_field_index(name), name, pa.array(lists, kind))
    folder.write_table(UNITS, units)
    labels = [
        {"row": i, "explanation": f"the word {THEMES[i // EACH][i % 6]}", "source": "live", "judge": ""}
        for i in range(n)
    ]
    folder.write_table(LABELS, pa.Table.from_pylist(labels, schema=schema.LABELS))
    return IndexFolder(path)


@pytest.mark.parametrize("column", ["nearest", "together"])
def test_features_that_are_alike_are_one_cluster_with_a_name_of_their_meaning(tmp_path: Path, column: str) -> None:
    folder = alike_in_groups(tmp_path, column)
    feature_map.write(folder)
    table, clusters = folder.table(MAP).to_pydict(), folder.clusters()
    assert table["row"] == list(range(EACH * len(THEMES)))
    groups = np.array(table["cluster"]).reshape(len(THEMES), EACH)
    for group, theme in zip(groups, THEMES, strict=True):
        [number] = set(group.tolist())
        words = clusters[number].name.split(", ")
        assert len(words) == 3
        assert set(words) <= set(theme)
        assert clusters[number].size == EACH


def test_clusters_of_many_features_are_those_of_the_small_groups_that_they_were_gathered_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_map, "_LEAVES", 12)
    folder = alike_in_groups(tmp_path, "nearest")
    feature_map.write(folder)
    assert sum(cluster.size for cluster in folder.clusters()) == EACH * len(THEMES)
    assert {cluster.cluster for cluster in folder.clusters()} == set(folder.table(MAP)["cluster"].to_pylist())


def test_clusters_of_features_without_a_word_have_no_name(tmp_path: Path) -> None:
    folder = alike_in_groups(tmp_path, "nearest")
    folder.write_table(LABELS, schema.LABELS.empty_table())
    folder.write_table(EXAMPLES, schema.EXAMPLES.empty_table())
    feature_map.write(folder)
    assert {cluster.name for cluster in folder.clusters()} == {""}


def test_no_map_of_features_that_are_too_few_or_too_many_or_like_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = explorer_index.make(tmp_path / "few", n_features=9, n_neurons=0)
    feature_map.write(few)
    assert not few.has(MAP)
    folder = alike_in_groups(tmp_path / "many", "nearest")
    with monkeypatch.context() as patch:
        patch.setattr(feature_map, "MOST_ON_MAP", 50)
        feature_map.write(folder)
        assert not folder.has(MAP)
    units = folder.table(UNITS)
    lonely = pa.array([[]] * len(units), schema.UNITS.field("nearest").type)
    folder.write_table(UNITS, units.set_column(units.schema.get_field_index("nearest"), "nearest", lonely))
    feature_map.write(IndexFolder(folder.path))
    assert not folder.has(MAP)


@pytest.mark.parametrize(
    ("tokens", "mark", "word"),
    [
        ([" an", " apo", "log", "ise", "."], 2, " apologise"),
        ([" an", " apo", "log", "ise", "."], 4, "."),
        (["log"], 0, "log"),
        ([" for", " you"], 1, " you"),
        (["2", "nd", "", "x"], 1, "nd"),
    ],
)
def test_a_marked_token_is_shown_as_its_whole_word(tokens: list[str], mark: int, word: str) -> None:
    assert word_at(tokens, mark) == word
