"""Judges and scorers of other packages are named in a spec, found by their entry points, and used like the program's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support import third_party as other

from autointerp.cli.reference import scorers
from autointerp.errors import UsageError
from autointerp.judges.prices import price_of
from autointerp.judges.registry import no_probabilities, open_judge
from autointerp.records import Unit
from autointerp.scorers import registry
from autointerp.scorers.base import Case
from autointerp.spec import rubric
from autointerp.spec.judge_sections import Judge
from autointerp.spec.providers import PROVIDERS, is_llm
from autointerp.spec.spec import parse
from autointerp.spec.third_party import JUDGES, SCORERS

FAULTY = """
class Wrong(Length):
    name = "another"

NotAScorer = Echo
"""
POINTS = {
    JUDGES: {
        "echo": "others_package:Echo",
        "broken": "others_package:Missing",
        "lacking": "package_that_is_not_there:X",
    },
    SCORERS: {
        "length": "others_package:Length",
        "misnamed": "others_package:Wrong",
        "no-scorer": "others_package:NotAScorer",
    },
}
Install = Callable[[], None]


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    other.install(tmp_path, monkeypatch, POINTS, other.SOURCE + FAULTY)
    yield
    monkeypatch.undo()
    other.forget()


def spec(**sections: Any) -> dict[str, Any]:
    return {"subject": {"model": "m"}, "dictionary": {"path": "d"}, "corpus": {"sources": ["t"]}, **sections}


def test_a_judge_of_another_package_is_opened_and_asked() -> None:
    settings = Judge(model="echo/loud")
    judge = open_judge(settings, rubric.load("specificity"))
    assert (judge.name, judge.is_llm) == ("echo/loud", True)
    assert is_llm("echo/loud")
    assert price_of("echo/loud") is None
    assert "echo" in PROVIDERS
    assert no_probabilities(settings) == "that judge is not known to return them"


def test_the_program_s_own_names_are_not_taken_by_other_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "second").mkdir()
    other.install(
        tmp_path / "second", monkeypatch, {JUDGES: {"openai": "x:Y"}, SCORERS: {"detection": "x:Y"}}, name="greedy"
    )
    assert PROVIDERS["openai"].entry_point is None
    assert registry.scorer("detection") is registry.SCORERS["detection"]
    assert registry.names().count("detection") == 1


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("broken/x", "broken of the package others-package cannot be loaded (AttributeError:"),
        (
            "lacking/x",
            "lacking of the package others-package needs package_that_is_not_there, which is not installed: pip install",
        ),
    ],
)
def test_a_judge_that_cannot_be_loaded_names_its_package(model: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        open_judge(Judge(model=model), rubric.load("specificity"))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_spec_takes_the_names_that_are_offered_and_no_others() -> None:
    assert parse(spec(score={"also": ["detection", "length"]})).scorers == ("detection", "length", "distinction")
    with pytest.raises(UsageError, match=r"'width' is not an evaluation: use some of detection, .*length"):
        parse(spec(score={"also": ["width"]}))
    with pytest.raises(UsageError, match=r"judge\.model"):
        parse(spec(judge={"model": "nobody/x"}))
    assert parse(spec(judge={"model": "echo/x"})).judge.model == "echo/x"


def test_a_scorer_of_another_package_scores() -> None:
    unit = Unit("feature-1", "feature", 1, "", "resid_post.0", 1.0, 0.1, "alive")
    case = Case(unit, "rivers in Africa", (), (), (), 0)
    assert registry.scorer("length").score(case, ()).values == {"words": 3.0}


def test_the_list_of_scorers_names_those_of_other_packages_and_the_reason_of_one_that_is_broken() -> None:
    listed = CliRunner().invoke(scorers, [], catch_exceptions=False)
    assert "length  (a test)" in listed.output
    assert "misnamed of the package others-package calls itself 'another'" in listed.output
    as_json = CliRunner().invoke(scorers, ["--json"], catch_exceptions=False)
    found = {entry["name"]: entry["figures"] for entry in json.loads(as_json.stdout)}
    assert found["length"] == {"words": "number of words of the explanation"}
    assert "misnamed" not in found


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("misnamed", "misnamed of the package others-package calls itself 'another'"),
        (
            "no-scorer",
            "no-scorer of the package others-package is not a scorer: let it be a subclass of autointerp.scorers.base.Scorer",
        ),
    ],
)
def test_a_scorer_that_is_none_names_its_package(name: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        registry.scorer(name)
    assert message in str(refused.value)
