"""Files of explanations that a run is given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autointerp.errors import UsageError
from autointerp.harvest.given_explanations import read

NEURONPEDIA = [
    {"modelId": "gpt2-small", "layer": "8-res-jb", "index": "641", "description": "colours", "explanationModelName": "gpt-4o-mini"},
    {"modelId": "gpt2-small", "layer": "8-res-jb", "index": "641", "description": "paints", "explanationModelName": "gpt-4o-mini"},
    {"modelId": "gpt2-small", "layer": "8-res-jb", "index": "3", "description": "verbs", "explanationModelName": "gpt-4o-mini"},
]  # fmt: skip
BOTH = {"feature-641": "colours", "feature-3": "verbs"}


@pytest.mark.parametrize(
    ("name", "text", "by"),
    [
        ("a.csv", "feature,explanation\n641,colours\n3,verbs\n", "a.csv"),
        ("a.csv", "unit_id,explanation,explainer\nfeature-641,colours,Ann\nfeature-3,verbs,Ann\n", "Ann"),
        ("a.tsv", "index\tdescription\n641\tcolours\n3\tverbs\n", "a.tsv"),
        ("a.json", json.dumps({"641": "colours", "feature-3": "verbs"}), "a.json"),
        ("a.json", json.dumps({"by": "Ann", "explanations": {"641": "colours", "3": "verbs"}}), "Ann"),
        ("a.json", json.dumps(NEURONPEDIA), "gpt-4o-mini"),
        ("a.jsonl", "\n".join(map(json.dumps, NEURONPEDIA)), "gpt-4o-mini"),
    ],
)
def test_the_same_explanations_are_read_from_every_format(tmp_path: Path, name: str, text: str, by: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    given = read(tmp_path / name)
    assert dict(given.texts) == BOTH
    assert given.by == by
    assert given.features == [3, 641]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "holds no explanation"),
        ("{", "cannot be read"),
        ('{"641": 3}', "641 has no text"),
        ('{"head-3": "x"}', "'head-3' is no unit"),
        ('[{"description": "x"}]', "entry 1: it has description"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=said) as caught:
        read(tmp_path / "a.json")
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="No such file"):
        read(tmp_path / "b.json")
