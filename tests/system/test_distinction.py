"""Explanations that a grade cannot tell apart: too broad, a sibling's, or judged by a useless judge."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from support.planted_world import siblings, truth

from sae.analysis import neighbour_windows

GROUPS = {"swapped": siblings.SWAPPED, "broad": siblings.BROAD, "exact": range(40, siblings.UNITS)}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return siblings.make(tmp_path_factory.mktemp("siblings") / "world")


@pytest.fixture(scope="module")
def judged(world: Path, tmp_path_factory: pytest.TempPathFactory) -> truth.Result:
    return truth.carry(siblings.spec(world), tmp_path_factory.mktemp("judged"), siblings.Explainer())


def of_group(result: truth.Result, name: str) -> pd.DataFrame:
    return result.units.loc[result.units["index"].isin(GROUPS[name])]


def noticed(units: pd.DataFrame) -> float:
    """Share of units whose figures are below those of a perfect explanation."""
    perfect = (units["distinction"] == 1) & (units["mean_score"] - units["neighbour_mean"] == 3)
    return float((~perfect).mean())


def test_too_broad_and_swapped_explanations_are_noticed_and_exact_ones_left_alone(judged: truth.Result) -> None:
    assert {name: len(of_group(judged, name)) for name in GROUPS} == dict.fromkeys(GROUPS, 20)
    assert noticed(of_group(judged, "broad")) >= 0.9
    assert noticed(of_group(judged, "swapped")) >= 0.95
    assert noticed(of_group(judged, "exact")) <= 0.05


def test_each_of_both_forms_notices_them_and_the_grade_alone_does_not(judged: truth.Result) -> None:
    broad = of_group(judged, "broad")
    assert (broad["mean_score"] == 3).all()
    assert (broad["base_rate_mean"] == 0).all()
    assert (broad["distinction"] < 0.95).mean() >= 0.9
    assert (broad["neighbour_mean"] > 0).mean() >= 0.9
    assert (of_group(judged, "swapped")["distinction"] < 0.2).mean() >= 0.95


def test_the_summary_holds_both_figures_with_their_intervals(judged: truth.Result) -> None:
    told = judged.summary["distinction"]["feature"]
    assert told["chance"] == 0.2
    assert told["value"] == pytest.approx(judged.units["distinction"].mean())
    assert told["ci_low"] < told["value"] < told["ci_high"]
    assert (told["n_units"], told["n_undefined"]) == (60, 0)
    assert judged.summary["distinction"]["neuron"]["why"] == "no neuron was evaluated"
    minus = judged.summary["controls"]["main_minus_neighbour"]
    own = judged.units["mean_score"] - judged.units["neighbour_mean"]
    assert minus["difference"] == pytest.approx(own.mean())
    assert minus["n_units"] == 60


def test_a_useless_judge_ends_with_the_grade_withheld(world: Path, tmp_path: Path) -> None:
    few = {"feature_ids": list(range(40, 48)), "neurons": 0}
    spec = siblings.spec(world, units=few, controls={"random_dictionary": True})
    result = truth.carry(spec, tmp_path, siblings.Lenient())
    assert result.summary["headline"]["withheld"]
    assert result.summary["headline"]["difference"] is None
    assert result.summary["belief"]["verdict"] == "do_not"
    assert result.summary["distinction"]["feature"]["value"] == pytest.approx(0.2)
    failed = {check["name"] for check in result.summary["belief"]["checks"] if check["passed"] is False}
    assert failed >= {"distinction", "base_rate", "floor", "random"}
    for reason in (
        "explanations tell features from their neighbours no better than chance",
        "active windows are graded no higher than silent ones",
        "own explanations are graded no higher than those of other units",
        "features are graded no higher than those of a random dictionary",
    ):
        assert reason in result.summary["headline"]["withheld"]


def test_without_windows_of_neighbours_the_summary_gives_the_reason(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbour_windows, "TOKENS", 0)
    spec = siblings.spec(world, units={"feature_ids": list(range(40, 46)), "neurons": 0})
    result = truth.carry(spec, tmp_path, siblings.Explainer())
    told = result.summary["distinction"]["feature"]
    assert told["value"] is None
    assert told["why"] == "fewer than 4 windows in which a neighbour is strongly active and the unit silent"
    assert told["n_undefined"] == 6
    assert result.units["distinction"].isna().all()
    assert result.summary["controls"]["neighbour"]["feature"]["n"] == 0
    checks = {check["name"]: check for check in result.summary["belief"]["checks"]}
    assert checks["distinction"]["passed"] is None
    assert told["why"] in checks["distinction"]["said"]
