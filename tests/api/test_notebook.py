"""docs/evaluate.ipynb, with the planted world in place of what it names."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from support.locations import ROOT
from support.planted_world.small_run import SETTINGS, Evaluated

import autointerp as ai

NOTEBOOK = ROOT / "docs" / "evaluate.ipynb"


def run(source: str, scope: dict[str, Any]) -> Any:
    """Run a cell and return the value of its last expression, as a kernel does."""
    cell = ast.parse(source)
    last = cell.body.pop() if isinstance(cell.body[-1], ast.Expr) else None
    exec(compile(cell, NOTEBOOK.name, "exec"), scope)
    return (
        eval(compile(ast.Expression(last.value), NOTEBOOK.name, "eval"), scope) if isinstance(last, ast.Expr) else None
    )


@pytest.mark.slow
def test_every_cell_runs_and_shows_something(evaluated: Evaluated, tmp_path: Path) -> None:
    world = evaluated.world
    shown: list[Any] = []
    scope: dict[str, Any] = {}
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        value = run("".join(cell["source"]), scope)
        if cell["metadata"].get("tags") == ["parameters"]:
            ours = {
                "model_name": str(world.subject),
                "dictionary_name": str(world.dictionary),
                "texts": str(world.corpus),
            }
            ours |= {"hook_point": "resid_post.0", "settings": SETTINGS, "features": 6, "results": str(tmp_path)}
            assert ours.keys() <= scope.keys()
            scope |= ours
        if value is not None:
            shown.append(value)
            assert getattr(value, "_repr_html_", lambda: "x")()
    assert [type(value) for value in shown if isinstance(value, ai.Result | ai.ComparedRuns)]
    assert [row["step"] for row in scope["log"]] == [0, 50, 100, 150, 200]
    assert scope["log"][-1]["variance_explained"] > scope["log"][0]["variance_explained"]
    assert set(scope["given"].units["mean_score"]) == {1.0}


def test_the_notebook_holds_no_output() -> None:
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        assert not cell.get("outputs")
        assert not cell.get("execution_count")
