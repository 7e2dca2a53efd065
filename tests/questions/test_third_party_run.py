"""A scorer and a judge of another package take part in a run like the program's own: opened by the spec, asked, scored and summarised."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from support import third_party as other
from support.planted_world import judged_runs
from support.planted_world import runs as planted_runs
from support.planted_world import world as planted

from autointerp.spec.third_party import JUDGES, SCORERS

FEW = {"feature_ids": [0, 1, 2, 3], "neuron_ids": ["0+", "1+"]}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[planted.World]:
    """A planted world, with the package installed."""
    (tmp_path / "site").mkdir()
    points = {SCORERS: {"length": "others_package:Length"}, JUDGES: {"echo": "others_package:Echo"}}
    other.install(tmp_path / "site", monkeypatch, points)
    yield judged_runs.make(tmp_path / "world")
    monkeypatch.undo()
    other.forget()


def test_a_run_asks_the_judge_and_scores_with_the_scorer_of_another_package(
    world: planted.World, tmp_path: Path
) -> None:
    judge = {"model": "echo/loud", "input_usd_per_mtok": 1.0, "output_usd_per_mtok": 2.0}
    spec = judged_runs.spec(world, "lengths", units=FEW, score={"also": ["length"]}, judge=judge)
    run, ledger = judged_runs.open_(spec, tmp_path / "results")
    summary = planted_runs.carry(run, ledger)
    ledger.close()
    assert (summary["judge"], summary["judge_is_llm"], summary["served_models"]) == ("echo/loud", True, ["echo-1"])
    assert summary["cost_usd"] == pytest.approx(summary["calls"] * (10 * 1.0 + 5 * 2.0) / 1e6)
    assert summary["controls"]["main"]["all"]["mean"] == 2.0
    [length] = summary["scorers"]
    assert length["figures"][0]["meaning"] == "number of words of the explanation"
    figures = pd.read_parquet(run.folder / "scorers.parquet").set_index("unit_id")["value"]
    units = pd.read_parquet(run.folder / "units.parquet").set_index("unit_id")["explanation"]
    assert len(figures) > 2
    assert all(value == len(units[unit].split()) for unit, value in figures.items())
