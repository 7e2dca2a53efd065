"""The files of an index are read row group by row group, and appear whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from autointerp.errors import UsageError
from autointerp.explorer.index import schema
from autointerp.explorer.index.folder import EXAMPLES, LABELS, MAP, UNITS, IndexFolder
from autointerp.explorer.index.schema import About, Cluster, DictionaryAbout, SubjectAbout


def about(**changes: Any) -> About:
    keys: dict[str, Any] = {
        "identity": "0", "name": "test", "corpus": "some text", "n_tokens": 100, "n_documents": 2, "n_features": 200,
        "n_neurons": 0, "bins": 10, "top": 20, "per_bin": 5, "groups": [(0, 64, 0), (128, 64, 1)],
        "subject": SubjectAbout(name="model", precision="float32", n_layers=2),
        "dictionary": DictionaryAbout(path="x", hook_point="resid_post.1", d_sae=200, architecture="topk"),
    }  # fmt: skip
    return About(**(keys | changes))


def example(row: int, rank: int) -> dict[str, Any]:
    return {
        "row": row, "bin": 0, "rank": rank, "activation": 1.5, "document": 1, "position": 7, "mark": 1,
        "tokens": ["a", "\u2028b"], "activations": [0.0, 1.5],
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> IndexFolder:
    folder = IndexFolder(tmp_path)
    with folder.writer(EXAMPLES) as writer:
        for rows in ([0, 0, 63], [130]):
            found = [example(row, rank) for rank, row in enumerate(rows)]
            writer.write_table(pa.Table.from_pylist(found, schema=schema.EXAMPLES))
    folder.write_table(UNITS, schema.UNITS.empty_table())
    folder.finish(about())
    return folder


def test_examples_of_a_unit_are_in_its_row_group(folder: IndexFolder) -> None:
    assert folder.examples(0) == [example(0, 0), example(0, 1)]
    assert folder.examples(63) == [example(63, 2)]
    assert folder.examples(130) == [example(130, 0)]
    assert folder.examples(5) == folder.examples(100) == folder.examples(1000) == []


def test_index_json_is_read_as_it_was_written(folder: IndexFolder) -> None:
    assert IndexFolder(folder.path).about == about()


@pytest.mark.parametrize(
    ("text", "needle"),
    [("{}", "cannot be read"), ("", "cannot be read"), (about(schema_version=9).model_dump_json(), "later version")],
)
def test_a_damaged_or_later_index_is_refused(folder: IndexFolder, text: str, needle: str) -> None:
    (folder.path / "index.json").write_text(text)
    with pytest.raises(UsageError, match=needle):
        _ = IndexFolder(folder.path).about


def test_a_file_whose_writing_fails_does_not_appear(tmp_path: Path) -> None:
    folder = IndexFolder(tmp_path)
    with pytest.raises(ZeroDivisionError), folder.writer(UNITS):
        _ = 1 / 0
    assert not folder.has(UNITS)
    assert folder.table(MAP).schema.equals(schema.MAP)


def test_labels_and_clusters_are_replaced_whole(folder: IndexFolder) -> None:
    for text in ("first", "second"):
        row = dict.fromkeys(schema.LABELS.names) | {"row": 3, "explanation": text, "source": "live", "judge": ""}
        folder.write_table(LABELS, pa.Table.from_pylist([row], schema=schema.LABELS))
        folder.write_clusters([Cluster(cluster=0, name=text, size=3, x=0.5, y=-1)])
    assert folder.table(LABELS)["explanation"].to_pylist() == ["second"]
    assert [cluster.name for cluster in folder.clusters()] == ["second"]


@pytest.mark.parametrize("name", [UNITS, EXAMPLES, LABELS])
def test_a_table_that_was_copied_in_part_is_said(folder: IndexFolder, name: str) -> None:
    folder.write_table(LABELS, schema.LABELS.empty_table())
    path = folder.path / name
    for damaged in (path.read_bytes()[:-3], b"", None):
        path.unlink() if damaged is None else path.write_bytes(damaged)
        if name == LABELS and damaged is None:
            assert IndexFolder(folder.path).about
            continue
        with pytest.raises(UsageError, match=f"{name} is missing or damaged: copy it again"):
            _ = IndexFolder(folder.path).about
