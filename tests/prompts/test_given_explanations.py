"""Explanations that were made elsewhere are read from Neuronpedia's files and from tables."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from autointerp.errors import UsageError
from autointerp.prompts.given_explanations import explanations_from


def row(index: Any, description: str, layer: str = "6-res-jb") -> dict[str, Any]:
    """An explanation as Neuronpedia exports it."""
    return {
        "id": "c1", "modelId": "gpt2-small", "layer": layer, "index": index, "authorId": "a", "description": description,
        "typeName": "oai_token-act-pair", "explanationModelName": "gpt-4o-mini", "embedding": None,
    }  # fmt: skip


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def test_a_neuronpedia_export_is_read_batch_by_batch_and_the_first_explanation_of_a_unit_counts(tmp_path: Path) -> None:
    written(tmp_path, "explanations/batch-10.jsonl.gz", json.dumps(row("204", "later")) + "\n")
    lines = [row("204", "time-related phrases"), row(7, " rivers\n and lakes "), row("8", "")]
    written(tmp_path, "explanations/batch-2.jsonl.gz", "\n".join(map(json.dumps, lines)))
    written(tmp_path, "features/batch-0.jsonl.gz", "{}")
    expected = {"feature-204": "time-related phrases", "feature-7": "rivers and lakes"}
    assert explanations_from(tmp_path) == expected
    assert explanations_from(tmp_path / "explanations") == expected


def test_the_api_s_answers_are_read(tmp_path: Path) -> None:
    feature = {"modelId": "gpt2-small", "layer": "6-res-jb", "index": "5", "explanations": [{"description": "dates"}]}
    assert explanations_from(written(tmp_path, "feature.json", json.dumps(feature))) == {"feature-5": "dates"}
    rows = [row("5", "dates"), row("6", "names")]
    assert explanations_from(written(tmp_path, "all.json", json.dumps(rows)))["feature-6"] == "names"


@pytest.mark.parametrize(
    "text",
    [
        "unit_id,explanation\nfeature-3,rivers\nneuron-17+,lists\n",
        "\ufeffIndex;Description;score\n3;rivers;2\nneuron-17+;lists;1\n",
        'unit\tlabel\n3\t"rivers"\nneuron-17+\tlists\n',
    ],
)
def test_a_table_is_read_under_usual_names_and_separators(tmp_path: Path, text: str) -> None:
    assert explanations_from(written(tmp_path, "mine.csv", text)) == {"feature-3": "rivers", "neuron-17+": "lists"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("mine.csv", "unit,grade\n3,1\n", "has no column for the explanation: name it one of explanation"),
        ("mine.csv", "name,explanation\n3,1\n", "has no column for the unit: name it one of unit_id"),
        ("mine.csv", "unit,explanation\nmlp-3,x\n", "line 2, names the unit 'mlp-3': write feature-641"),
        ("mine.csv", "unit,explanation\n3,\n", "has no explanations: give a CSV file"),
        ("mine.txt", "3 rivers", "is not a file of explanations: give a CSV file"),
        ("mine.json", "{", "is not JSON"),
        ("mine.jsonl", '{"index": 3}', "line 1, has no `index` and `description`"),
        ("mine.jsonl.gz", "", "has no explanations"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        explanations_from(written(tmp_path, name, text))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_files_that_are_missing_cut_off_or_of_two_sources_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file or folder"):
        explanations_from(tmp_path / "none.csv")
    with pytest.raises(UsageError, match=r"holds no batch-0\.jsonl\.gz"):
        explanations_from(tmp_path)
    (cut := tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b"{}" * 99)[:-9])
    with pytest.raises(UsageError, match="cannot be read"):
        explanations_from(cut)
    two = "\n".join(map(json.dumps, [row("1", "a"), row("2", "b", layer="7-res-jb")]))
    with pytest.raises(UsageError, match="is of gpt2-small/7-res-jb and earlier ones of gpt2-small/6-res-jb"):
        explanations_from(written(tmp_path, "two.jsonl", two))
