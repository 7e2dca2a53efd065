"""Explanations that a grade cannot tell apart: too broad, a sibling's, or judged by a useless judge.

Two judges answer: one that knows which words an explanation names, and the embedded one, which compares words by their vectors.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.planted_world import siblings, truth

from autointerp.judges import registry
from autointerp.judges.base import Judge
from autointerp.spec import rubric
from autointerp.spec.sections import Controls
from autointerp.spec.spec import Spec
from sae.analysis import neighbour_places

GROUPS = {"swapped": siblings.SWAPPED, "broad": siblings.BROAD, "exact": range(40, siblings.UNITS)}
JUDGES = ("knowing", "embedded")
TOLD, TOP = 0.9, 3
"""The rule of `docs/scorers.md`: a unit is noticed if its `distinction` is lower, or a window of a neighbour has the highest grade."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return siblings.make(tmp_path_factory.mktemp("siblings") / "world")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("judged")


def judge_of(name: str, spec: Spec) -> Judge:
    return (
        siblings.Explainer() if name == "knowing" else registry.open_judge(spec.judge, rubric.load(spec.score.rubric))
    )


def carried(world: Path, results: Path, name: str, **sections: Any) -> truth.Result:
    """A run of a judge. All runs in a folder share one harvest."""
    spec = siblings.spec(world, **sections).model_copy(update={"name": name})
    return truth.carry(spec, results, judge_of(name, spec), siblings.Explainer())


@pytest.fixture(scope="module")
def judged(world: Path, results: Path) -> truth.Result:
    return carried(world, results, "knowing")


@pytest.fixture(scope="module")
def by_words(world: Path, results: Path, judged: truth.Result) -> truth.Result:
    return carried(world, results, "embedded")


@pytest.fixture(params=JUDGES)
def result(request: pytest.FixtureRequest, judged: truth.Result, by_words: truth.Result) -> truth.Result:
    return {"knowing": judged, "embedded": by_words}[request.param]


def of_group(result: truth.Result, name: str) -> pd.DataFrame:
    return result.units.loc[result.units["index"].isin(GROUPS[name])]


def untold(result: truth.Result, name: str) -> float:
    """Share of a group that the scorer `distinction` notices."""
    units = of_group(result, name)
    return float((units["distinction"] < TOLD).mean()) if "distinction" in units else 0.0


def too_high(result: truth.Result, name: str) -> float:
    """Share of a group of which a window of a neighbour has the highest grade."""
    rows = result.judgements.loc[(result.judgements["arm"] == "neighbour") & (result.judgements["score"] == TOP)]
    return float(of_group(result, name)["unit_id"].isin(rows["unit_id"]).mean())


def noticed(result: truth.Result, name: str) -> float:
    """Share of a group that the rule notices."""
    units = of_group(result, name)
    rows = result.judgements.loc[(result.judgements["arm"] == "neighbour") & (result.judgements["score"] == TOP)]
    told = units["distinction"] if "distinction" in units else pd.Series(1.0, units.index)
    return float(((told < TOLD) | units["unit_id"].isin(rows["unit_id"])).mean())


@pytest.mark.slow
def test_too_broad_and_swapped_explanations_are_noticed_and_exact_ones_left_alone(result: truth.Result) -> None:
    assert {name: len(of_group(result, name)) for name in GROUPS} == dict.fromkeys(GROUPS, 20)
    assert noticed(result, "broad") >= 0.9
    assert noticed(result, "swapped") >= 0.95
    assert noticed(result, "exact") <= 0.05


def test_each_of_both_forms_notices_them_alone(result: truth.Result) -> None:
    for form in (untold, too_high):
        assert form(result, "broad") >= 0.9
        assert form(result, "swapped") >= 0.95
        assert form(result, "exact") <= 0.05


def test_the_grade_alone_does_not_notice_that_an_explanation_is_too_broad(result: truth.Result) -> None:
    broad, exact = of_group(result, "broad"), of_group(result, "exact")
    assert (broad["mean_score"] == 3).all()
    assert (exact["mean_score"] == 3).all()
    silent = [units["base_rate_mean"].mean() for units in (broad, exact)]
    assert silent[0] == pytest.approx(silent[1], abs=0.5)


@pytest.mark.parametrize("judge", ["knowing", pytest.param("embedded", marks=pytest.mark.slow)])
def test_without_windows_of_neighbours_too_broad_explanations_are_not_noticed(
    world: Path, results: Path, judged: truth.Result, judge: str
) -> None:
    without = carried(world, results, judge, controls={"neighbours": 0})
    assert noticed(without, "broad") == 0
    assert (of_group(without, "broad")["mean_score"] == 3).all()
    check = next(c for c in without.summary["belief"]["checks"] if c["name"] == "distinction")
    assert check["passed"] is None


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


REASONS = {
    "distinction": "explanations tell features from their neighbours no better than chance",
    "base_rate": "active windows are graded no higher than silent ones",
    "floor": "own explanations are graded no higher than those of other units",
    "random": "features are graded no higher than those of a random dictionary",
}
DEFAULTS = Controls().model_dump() | {"planted": 0}
FEW = {"feature_ids": list(range(40, 48)), "neurons": 0}


@pytest.fixture(scope="module")
def useless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("useless")


def test_a_useless_judge_ends_with_the_grade_withheld(world: Path, useless: Path) -> None:
    spec = siblings.spec(world, units=FEW, controls=DEFAULTS)
    result = truth.carry(spec, useless, siblings.Lenient())
    assert result.summary["headline"]["withheld"]
    assert result.summary["headline"]["difference"] is None
    assert result.summary["belief"]["verdict"] == "do_not"
    assert result.summary["distinction"]["feature"]["value"] == pytest.approx(0.2)
    failed = {check["name"] for check in result.summary["belief"]["checks"] if check["passed"] is False}
    assert failed >= REASONS.keys()
    for reason in REASONS.values():
        assert reason in result.summary["headline"]["withheld"]
    assert list(result.summary["evidence"]["random"]) == ["random_dictionary", "random_subject"]
    assert "random dictionary" in (result.folder / "report.md").read_text("utf-8")


def test_without_windows_of_neighbours_the_summary_gives_the_reason(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbour_places, "TOKENS", 0)
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


@pytest.mark.parametrize(
    ("removed", "check"),
    [
        ({"neighbours": 0}, "distinction"),
        pytest.param({"base_rate": 0}, "base_rate", marks=pytest.mark.slow),
        pytest.param({"shuffled": 0}, "floor", marks=pytest.mark.slow),
        ({"random_dictionary": False, "random_subject": False}, "random"),
    ],
)
def test_without_an_arm_its_reason_is_not_found(
    world: Path, useless: Path, removed: dict[str, Any], check: str
) -> None:
    spec = siblings.spec(world, units=FEW, controls=DEFAULTS | removed)
    result = truth.carry(spec, useless, siblings.Lenient())
    assert REASONS[check] not in result.summary["headline"]["withheld"]
    assert next(c for c in result.summary["belief"]["checks"] if c["name"] == check)["passed"] is None
