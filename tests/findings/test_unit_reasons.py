"""Each unit without an explanation or a mean grade has the reason in the column beside it."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from autointerp.findings.unit_reasons import with_reasons
from autointerp.harvest.control_units import planted_shortfall
from autointerp.spec import spec as specs

VALUES = ("mean_score", "mean_score_frequency", "shuffled_mean", "base_rate_mean")


def make_spec(**controls: int) -> specs.Spec:
    data: dict[str, Any] = {
        "subject": {"model": "tiny"},
        "dictionary": {"path": "sae"},
        "corpus": {"sources": ["a.txt"]},
        "controls": controls,
    }
    return specs.parse(data)


def reasons(judged: list[tuple[str, str]], spec: specs.Spec | None = None, **changes: Any) -> dict[str, str | None]:
    """The reasons of one unit, which has no grade but for `changes`. `judged` are arms and outcomes of its judgements."""
    unit: dict[str, Any] = {"unit_id": "f", "status": "alive", "explanation": "ships", "explanation_outcome": "scored"}
    units = pd.DataFrame([{**unit, **dict.fromkeys(VALUES, float("nan")), **changes}])
    judgements = pd.DataFrame([("f", arm, outcome) for arm, outcome in judged], columns=["unit_id", "arm", "outcome"])
    row = with_reasons(units, judgements, spec or make_spec()).iloc[0]
    return {name: None if pd.isna(row[f"{name}_why"]) else row[f"{name}_why"] for name in ("explanation", *VALUES)}


def test_a_graded_unit_needs_no_reason() -> None:
    assert set(reasons([], **dict.fromkeys(VALUES, 2.0)).values()) == {None}


@pytest.mark.parametrize(
    ("status", "outcome", "reason"),
    [
        ("dead", None, "never active on the corpus"),
        ("barely_active", None, "active in too few documents to be explained"),
        ("alive", "parse_failure", "no explanation: parse failure"),
        ("alive", None, "not explained"),
    ],
)
def test_a_unit_without_an_explanation_has_one_reason_for_all(status: str, outcome: str | None, reason: str) -> None:
    found = reasons([], status=status, explanation=None, explanation_outcome=outcome)
    assert set(found.values()) == {reason}


def test_a_unit_without_grades_says_what_was_judged() -> None:
    found = reasons([("main", "refusal"), ("main", "refusal"), ("shuffled", "refusal")])
    assert found == {
        "explanation": None,
        "mean_score": "all 2 judgements unscored",
        "mean_score_frequency": "all 2 judgements unscored",
        "shuffled_mean": "the only judgement is unscored",
        "base_rate_mean": "no window in which it is silent",
    }
    without = reasons([], make_spec(shuffled=0, base_rate=0))
    assert (without["shuffled_mean"], without["base_rate_mean"]) == ("controls.shuffled = 0", "controls.base_rate = 0")


def test_planted_units_that_could_not_be_planted_are_counted_with_the_reason() -> None:
    spec = make_spec(planted=2)
    assert planted_shortfall(spec, 2) is None
    assert planted_shortfall(make_spec(planted=0), 0) is None
    assert "controls.planted = 2, but none could be planted" in str(planted_shortfall(spec, 0))
    assert "controls.planted = 2, but only 1 could be planted" in str(planted_shortfall(spec, 1))
