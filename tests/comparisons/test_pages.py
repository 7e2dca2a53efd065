"""The files of a comparison."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from support.results.graded_runs import write

from autointerp.comparisons.command import CellOutcome, compare_matrix, compare_runs
from autointerp.report import comparison_links
from autointerp.spec.matrix import Cell
from autointerp.spec.spec import parse

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


def test_the_index_and_the_reports_written_since_link_the_comparison(tmp_path: Path) -> None:
    names = runs(tmp_path)
    page = Path(list(compare_runs(names, tmp_path, None, 0.95))[-1])
    address = f"comparisons/{page.parent.name}/comparison.html"
    index = (tmp_path / "index.html").read_text()
    assert f'<a href="{address}">second is better than first: ' in index
    [link] = comparison_links.of_run(tmp_path / "first")
    assert (link.href, link.runs) == (address, ("first", "second"))
    (page.parent / "comparison.json").write_text("[]")
    compare_runs(names, tmp_path, tmp_path / "elsewhere", 0.95)
    assert comparison_links.read(tmp_path) == ([], [f"comparisons/{page.parent.name}"])


def test_a_matrix_of_runs_is_one_page_with_a_grid_and_a_table_for_each_key(tmp_path: Path) -> None:
    outcomes = cells(tmp_path)
    page = Path(list(compare_matrix(outcomes, tmp_path))[-1])
    values = json.loads((page.parent / "comparison.json").read_text())
    assert [(pair["a"], pair["b"], pair["along"]) for pair in values["pairs"]] == [
        ("d-x", "e-x", "dictionary.path"),
        ("d-x", "d-y", "judge.model"),
    ]
    markdown = (page.parent / "comparison.md").read_text()
    assert "*Along dictionary.path. Brackets" in markdown
    assert "*Along judge.model. Brackets" in markdown
    [row] = [line for line in markdown.splitlines() if line.startswith("| e |")]
    assert "(../../e-x/report.html)" in row
    assert row.endswith("| no result: it broke |")
    html = page.read_text()
    assert "no result: it broke" in html
    assert 'href="../../d-y/report.html"' in html


def test_rubrics_with_other_grades_are_left_out_of_the_pairs_and_not_of_the_grid(tmp_path: Path) -> None:
    outcomes = cells(tmp_path)
    path = tmp_path / "e-x" / "summary.json"
    summary = json.loads(path.read_text())
    summary["rubric"]["levels"] = summary["rubric"]["levels"][:2]
    path.write_text(json.dumps(summary))
    values = json.loads((Path(list(compare_matrix(outcomes, tmp_path))[-1]).with_suffix(".json")).read_text())
    assert [pair["along"] for pair in values["pairs"]] == ["judge.model"]
    assert "the grades of the rubric are [0, 1, 2, 3] in one and [0, 1]" in values["not_compared"][0]
    assert [cell["run_id"] for cell in values["grid"]] == ["d-x", "d-y", "e-x", ""]


def test_many_pairs_have_one_title_that_counts_them_and_closed_sections(tmp_path: Path) -> None:
    outcomes = [replace(outcome, reason="") for outcome in cells(tmp_path)]
    page = Path(list(compare_matrix(outcomes, tmp_path))[-1])
    values = json.loads(page.with_suffix(".json").read_text())
    assert len(values["pairs"]) == 4
    told = sum(pair["verdict"] != "cannot be told" for pair in values["pairs"])
    assert values["titles"] == [f"{told} of 4 differences between 4 runs can be told"]
    html = page.read_text()
    assert html.count("<h1") == 1
    assert (html.count("<details>"), html.count("<details open>")) == (4, 0)


def cells(results: Path) -> list[CellOutcome]:
    """Dictionaries d and e, judges x and y, of which e and y have no result together."""
    rng = np.random.default_rng(1)
    outcomes = []
    for dictionary in "de":
        for judge in "xy":
            features, neurons = (rng.binomial(3, 0.5, (16, 2, 2)).astype(float) for _ in range(2))
            name, values = f"{dictionary}-{judge}", {"dictionary.path": dictionary, "judge.model": judge}
            write(results / name, features, neurons, dictionary=dictionary, judge=f"openai/{judge}")
            spec = parse(tomllib.loads((results / name / "spec.toml").read_text()))
            outcomes.append(CellOutcome(Cell(values, spec), name, "it broke" if name == "e-y" else ""))
    return outcomes
