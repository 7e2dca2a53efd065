"""The first example of docs/python.md, statement by statement, with the planted world in place of the names that it leaves open."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from support.locations import ROOT
from support.pages import FENCE
from support.planted_world.small_run import SETTINGS, Evaluated
from transformers import AutoModelForCausalLM, AutoTokenizer

import autointerp as ai

SMALLER = {
    "resid_post.8": "resid_post.0",
    "anthropic/claude-haiku-4-5": "embedded",
    "features=64": "features=[0, 1, 2, 8], neurons=['0+', '4+', '10+'], spec=settings",
    "feature-641": "feature-0",
    "results/mine-1f3c9a20": "{run}",
    "tokenizer=tokenizer)\nexplanations": "tokenizer=tokenizer, features=[0, 1, 2], neurons=['0+'], spec=settings)\nexplanations",
    'target=" sad"': 'target=" filler1"',
    "features=32)": "features=4, tokens=4096)",
}
"""Texts of the example, and those in their place: a model, units and a text that keep the test small."""


def test_every_statement_of_the_first_example_runs(
    evaluated: Evaluated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    world, logged = evaluated.world, list[dict[str, float]]()
    scope: dict[str, Any] = {
        "model": AutoModelForCausalLM.from_pretrained(world.subject),
        "tokenizer": AutoTokenizer.from_pretrained(world.subject),
        "dictionary": str(world.dictionary),
        "texts": str(world.corpus),
        "judge": "embedded",
        "settings": SETTINGS,
        "log": logged.append,
    }
    language, source = FENCE.findall((ROOT / "docs" / "python.md").read_text(encoding="utf-8"))[0]
    assert language == "python"
    for text, smaller in SMALLER.items():
        assert source.count(text), text
        source = source.replace(text, smaller.format(run=evaluated.run))
    for statement in ast.parse(source).body:
        exec(compile(ast.Module([statement], []), "docs/python.md", "exec"), scope)
        if "result" in scope:
            scope |= {"a": scope["result"], "b": ai.load(evaluated.run)}
    assert scope["result"].trust
    assert list((tmp_path / "figures").glob("*.svg"))
    assert (tmp_path / "results" / "index.html").is_file()
    assert {"l0", "alive_share", "embedded/mean_grade"} <= logged[0].keys()
