"""A scorer of another package takes part in a run like the program's own: asked, scored and summarised."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from support import third_party as other
from support.planted_world import judged_runs
from support.planted_world import runs as planted_runs

from autointerp.spec.third_party import SCORERS

SOURCE = """
from autointerp.scorers.base import Scorer, Scores

class Length(Scorer):
    name = "length"
    source = "a test"
    needs_explanation = True
    steps = ()
    figures = {"words": "number of words of the explanation"}
    chance = None
    def score(self, case, answers):
        return Scores({"words": float(len(case.explanation.split()))}, 1, 0)
"""


def test_a_run_scores_with_the_scorer_of_another_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site").mkdir()
    other.install(
        tmp_path / "site", monkeypatch, {SCORERS: {"length": "length_scorer:Length"}}, SOURCE, name="length-scorer"
    )
    world = judged_runs.make(tmp_path / "world")
    run, ledger = judged_runs.open_(
        judged_runs.spec(world, "lengths", score={"also": ["length"]}), tmp_path / "results"
    )
    judged_runs.carry(run, ledger, judged_runs.Judge())
    ledger.close()
    [summary] = [s for s in planted_runs.summary(run.folder)["scorers"] if s["scorer"] == "length"]
    assert summary["figures"][0]["meaning"] == "number of words of the explanation"
    figures = pd.read_parquet(run.folder / "scorers.parquet").query("scorer == 'length'").set_index("unit_id")["value"]
    units = pd.read_parquet(run.folder / "units.parquet").set_index("unit_id")["explanation"]
    assert len(figures) > 4
    assert all(value == len(units[unit].split()) for unit, value in figures.items())
    monkeypatch.undo()
    other.forget()
