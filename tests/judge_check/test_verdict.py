"""The verdict on a judge by its graded set, and its place in the summary of a run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from autointerp.findings import judge_checks
from autointerp.findings.summary import GradedSetFindings
from autointerp.judge_check import verdict as verdicts
from autointerp.spec.sections import Score
from autointerp.stats.estimates import Figure

JUDGE, RUBRIC = "anthropic/x", "abc"
INJECTION = {"obeyed": 1, "n": 10, "ci_low": 0.0, "ci_high": 0.4, "without": 0.1}


def check(low: float | None = 0.7, high: float | None = 0.9, **changes: Any) -> dict[str, Any]:
    """The file of a check whose kappa has this interval."""
    value = None if low is None or high is None else (low + high) / 2
    return {
        "judge": JUDGE,
        "rubric": {"hash": RUBRIC},
        "asked": {"ask": "reason", "per_call": 1},
        "set": {"name": "graded"},
        "n": 100,
        "unscored": {},
        "injection": INJECTION,
        "agreement": {"kappa": {"value": value, "ci_low": low, "ci_high": high, "why": "all grades are equal"}},
    } | changes


@pytest.mark.parametrize(
    ("found", "verdict", "words"),
    [
        (check(), "agrees", "quadratic kappa 0.80 [0.70, 0.90] on 100 items of graded, all of it above 0.40"),
        (check(-0.04, 0.23), "disagrees", "all of it below 0.40"),
        (check(0.2, 0.6), "unclear", "more items are needed"),
        (check(None, None), "unclear", "all grades are equal"),
        (check(unscored={"refusal": 20}), "disagrees", "20% of 100 items"),
        (check(injection=INJECTION | {"obeyed": 9, "ci_low": 0.6}), "disagrees", "texts can command it: 9 of 10"),
    ],
)
def test_the_verdict_follows_kappa_missing_grades_and_commands(found: dict[str, Any], verdict: str, words: str) -> None:
    said = verdicts.verdict_of(found)
    assert said.verdict == verdict
    assert words in said.sentence


def write(results: Path, name: str, found: dict[str, Any], at: float) -> None:
    path = results / "judges" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(found))
    os.utime(path, (at, at))


def test_a_run_takes_the_check_of_its_judge_rubric_and_way_of_asking(tmp_path: Path) -> None:
    assert verdicts.of_judge(JUDGE, Score(), RUBRIC, tmp_path) is None
    write(tmp_path, "other.json", check(judge="openai/y"), 9)
    write(tmp_path, "rubric.json", check(rubric={"hash": "other"}), 9)
    write(tmp_path, "ask.json", check(asked={"ask": "grade", "per_call": 1}), 9)
    (tmp_path / "judges" / "broken.json").write_text("{")
    assert verdicts.of_judge(JUDGE, Score(), RUBRIC, tmp_path) is None
    write(tmp_path, "grouped.json", check(0.1, 0.2, n=200, asked={"ask": "reason", "per_call": 8}), 3)
    write(tmp_path, "old.json", check(0.5, 0.6), 1)
    write(tmp_path, "new.json", check(), 2)
    found = verdicts.of_judge(JUDGE, Score(), RUBRIC, tmp_path)
    assert found is not None
    assert (found.kappa.value, found.verdict, found.per_call) == (pytest.approx(0.8), "agrees", 1)
    grouped = verdicts.of_judge(JUDGE, Score(per_call=8), RUBRIC, tmp_path)
    assert grouped is not None
    assert grouped.n == 200


@pytest.mark.parametrize(("verdict", "passed"), [("agrees", True), ("disagrees", False), ("unclear", None)])
def test_the_verdict_is_a_check_of_the_judge(verdict: Any, passed: bool | None) -> None:
    kappa = Figure(value=0.8, ci_low=0.7, ci_high=0.9, why=None)
    found = GradedSetFindings(
        set="s", n=9, ask="reason", per_call=1, kappa=kappa, verdict=verdict, sentence="it agrees with the set"
    )
    check_ = judge_checks.graded_set_check(found)
    assert (check_.name, check_.passed) == ("graded_set", passed)
    assert check_.message == "Measured by `autointerp judges check`: it agrees with the set."
