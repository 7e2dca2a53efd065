"""The files of a comparison."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
from support.results.graded_runs import write

from autointerp.comparisons.command import compare_runs

HOSTILE = "<script>window.pwned=1</script> | [x](http://evil.example/)"


def runs(results: Path) -> list[str]:
    rng = np.random.default_rng(0)
    features, neurons = (rng.binomial(3, 0.5, (20, 3, 3)).astype(float) for _ in range(2))
    write(results / "first", features, neurons, judge="openai/a")
    write(results / "second", np.minimum(features + 1, 3), neurons, judge="openai/b")
    units = pd.read_parquet(results / "second" / "units.parquet").assign(explanation=HOSTILE)
    units.to_parquet(results / "second" / "units.parquet")
    return ["first", "second"]


def test_a_comparison_leaves_a_page_markdown_json_and_the_changed_units(tmp_path: Path) -> None:
    lines = list(compare_runs(runs(tmp_path), tmp_path, None, 0.95))
    page = Path(lines[-1])
    assert page.parent.parent == tmp_path / "comparisons"
    values = json.loads((page.parent / "comparison.json").read_text())
    [pair] = values["pairs"]
    assert (pair["verdict"], pair["pairing"]["feature"], values["sides"]) == (
        "better",
        "exemplars",
        [["first"], ["second"]],
    )
    assert pair["sentence"] in lines
    markdown = (page.parent / "comparison.md").read_text()
    assert "**second is better than first: mean grade of features +" in markdown
    units = pd.read_parquet(page.parent / "units.parquet")
    assert {"unit_id", "difference", "change", "explanation_a", "explanation_b"} <= set(units)
    assert (units["change"] == "higher").any()


def test_explanations_are_escaped_on_the_page_and_in_markdown(tmp_path: Path) -> None:
    page = Path(list(compare_runs(runs(tmp_path), tmp_path, tmp_path / "out", 0.95))[-1])
    html = page.read_text()
    assert "<script" not in html
    assert "&lt;script&gt;window.pwned=1" in html
    assert "http://" not in (page.parent / "comparison.md").read_text()


def test_the_same_comparison_gives_the_same_files(tmp_path: Path) -> None:
    names = runs(tmp_path)
    files = []
    for _ in range(2):
        folder = Path(list(compare_runs(names, tmp_path, None, 0.95))[-1]).parent
        files.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert files[0] == files[1]
