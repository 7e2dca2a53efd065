"""Activations that were measured elsewhere are read from Neuronpedia's and SAEDashboard's files."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.errors import UsageError
from autointerp.prompts.given_activations import GivenActivations, activations_from

TEXTS = [
    {"index": "7", "tokens": ["The", " Nile", " flows"], "values": [0, 4.0, 0.5]},
    {"index": "7", "tokens": ["A", " river"], "values": [0, 1.0]},
    {"index": "7", "tokens": ["A", " river"], "values": [0, 1.0]},
    {"index": "7", "tokens": ["no", "thing"], "values": [0, 0]},
    {"index": 9, "tokens": ["42"], "values": [2.5]},
]


def source(folder: Path, texts: list[dict[str, Any]]) -> Path:
    for kind, rows in (("activations", texts), ("features", [{"index": "7", "frac_nonzero": 0.25}])):
        (folder / kind).mkdir(parents=True)
        lines = "\n".join(map(json.dumps, rows)).encode()
        (folder / kind / "batch-0.jsonl.gz").write_bytes(gzip.compress(lines))
    return folder


def check(found: GivenActivations) -> None:
    assert list(found.units) == ["feature-7", "feature-9"]
    assert found.units["feature-7"].max_activation == 4.0
    assert found.units["feature-7"].density == 0.25
    strongest, weaker = found.exemplars["feature-7"]
    assert (strongest.tokens, strongest.mark, strongest.bin, strongest.activation_fraction) == (
        ("The", " Nile", " flows"),
        1,
        10,
        1.0,
    )
    assert (weaker.text, weaker.activation, weaker.bin) == ("A river", 1.0, 3)
    assert math.isnan(weaker.inclusion_probability)


def test_the_folder_of_a_source_has_texts_and_densities(tmp_path: Path) -> None:
    found = activations_from(source(tmp_path / "6-res-jb", TEXTS))
    check(found)
    assert math.isnan(found.units["feature-9"].density)


def test_a_batch_of_sae_dashboard_has_the_same(tmp_path: Path) -> None:
    features = [
        {
            "feature_index": 7,
            "frac_nonzero": 0.25,
            "activations": [{k: t[k] for k in ("tokens", "values")} for t in TEXTS[:4]],
        },
        {"feature_index": 9, "frac_nonzero": 0.5, "activations": [{k: TEXTS[4][k] for k in ("tokens", "values")}]},
    ]
    path = tmp_path / "batch-0.json"
    path.write_text(json.dumps({"model_id": "gpt2-small", "features": features}), encoding="utf-8")
    check(activations_from(path))


@given(st.lists(st.lists(st.floats(0, 100), min_size=1, max_size=6), min_size=1, max_size=30))
def test_no_text_is_both_explained_and_judged(
    tmp_path_factory: pytest.TempPathFactory, values: list[list[float]]
) -> None:
    texts = [
        {"index": unit, "tokens": [f"{at}", *map(str, range(len(each) - 1))], "values": each}
        for unit in (1, 2)
        for at, each in enumerate(values)
    ]
    path = tmp_path_factory.mktemp("given") / "x.jsonl"
    path.write_text("\n".join(map(json.dumps, texts)), encoding="utf-8")
    if not any(max(each) > 0 for each in values):
        with pytest.raises(UsageError, match="has no activations"):
            activations_from(path)
        return
    exemplars = [e for unit in activations_from(path).exemplars.values() for e in unit]
    sides = [{e.text for e in exemplars if e.role == role} for role in ("score", "explain_top")]
    assert not sides[0] & sides[1]
    assert all(1 <= e.bin <= 10 and e.activation == max(e.token_activations) > 0 for e in exemplars)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"index": 1, "tokens": ["a"], "values": [1, 2]}', "has 1 tokens and 2 values for feature 1"),
        ('{"index": 1, "tokens": ["a"]}', "has no feature with `index`, `tokens` and `values`"),
        ('{"index": 1, "tokens": ["a"], "values": [NaN]}', "has a value for feature 1 that is not a finite number"),
        ("[1]", "has no feature with"),
        ("{", "is not JSON"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as refused:
        activations_from(tmp_path / "x.jsonl")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
