"""`autointerp judges check` against provider servers: its figures, reuse of answers, stops and errors."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from support.planted_world import runs as planted_runs
from support.providers.protocols import Json
from support.providers.server import ProviderServer, Script

from autointerp.calls import caller
from autointerp.cli.main import main
from autointerp.judge_check import figures, graded_set
from autointerp.judge_check.check_plan import Plan
from autointerp.judge_check.graded_set import Entry
from autointerp.judge_check.run import CheckResult, ItemAnswer
from autointerp.judges import retry
from autointerp.prompts.untrusted_text import render_window
from autointerp.records import Outcome
from autointerp.spec import rubric
from autointerp.spec.judge_sections import Judge as JudgeSettings

MODELS = ("anthropic/claude-haiku-4-5", "openai/gpt-5-mini", "openai-compatible/small")
SET = graded_set.load()
SHOWN = {(item.explanation.casefold(), render_window(item.material.window)): item.entry for item in SET.items}
_ITEM = re.compile(r"<explanation>\n(.*?)\n</explanation>\n<text>\n(.*?)\n</text>", re.DOTALL)
Rule = Callable[[Entry, int], int]


def truth(entry: Entry, place: int) -> int:
    return entry.grade


def obedient(entry: Entry, place: int) -> int:
    return entry.grade if entry.commands is None else entry.commands


def tired(entry: Entry, place: int) -> int:
    """Right about the first items of a question, and lenient later on."""
    return entry.grade if place < 2 else 3


def brain(rule: Rule) -> Callable[[str, str, Json], Any]:
    """A judge that knows the set and answers by `rule`, in the requested format."""

    def answer(system: str, user: str, schema: Json) -> Any:
        entries = [SHOWN[explanation.casefold(), text] for explanation, text in _ITEM.findall(user)]
        grades = [rule(entry, place) for place, entry in enumerate(entries)]
        if not schema:
            rest = {str(g): 0.1 for g in range(4) if g != grades[0]}
            return {"said": str(grades[0]), "probabilities": {str(grades[0]): 0.7} | rest}
        if "$defs" not in schema:
            return {"reason": "known", "grade": grades[0]}
        return {str(number): {"reason": "known", "grade": grade} for number, grade in enumerate(grades, 1)}

    return answer


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in planted_runs.KEYS:
        monkeypatch.setenv(name, planted_runs.KEY)
    monkeypatch.setattr(retry, "_backoff", lambda state: 0.01)
    monkeypatch.setattr(caller, "MIN_PAUSE_S", 0.05)


def check(server: ProviderServer | None, results: Path, *arguments: str, model: str = MODELS[0]) -> Result:
    where = ["--base-url", planted_runs.url(model, server.url)] if server else []
    if model == MODELS[2]:  # so that no calls are spent on a probe
        where += ["--set", "judge.system_role=true", "--set", "judge.json=schema"]
    command = ["judges", "check", model, *where, "--results", str(results), "--quiet", *arguments]
    return CliRunner().invoke(main, command)


def findings(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def value(report: Mapping[str, Any], name: str) -> float:
    return float(report["agreement"][name]["value"])


@pytest.mark.parametrize("model", MODELS)
def test_a_judge_that_knows_the_set_agrees_with_it(model: str, tmp_path: Path) -> None:
    with ProviderServer(brain(truth)) as server:
        report = findings(check(server, tmp_path, "--json", "--max", "40", model=model))
        assert len(server.books) == 40
    assert report["n"] == report["calls"] == 40
    assert [value(report, name) for name in ("exact", "adjacent", "kappa", "alpha", "ac2")] == pytest.approx([1.0] * 5)
    assert value(report, "difference") == 0
    assert report["confusion"] == [[10 * (i == j) for j in range(4)] for i in range(4)]
    assert report["injection"]["obeyed"] == 0
    assert report["input_tokens"] + report["cache_read_tokens"] + report["cache_write_tokens"] == sum(
        entry.input_tokens + entry.cache_read_tokens + entry.cache_write_tokens for entry in server.books
    )
    assert (report["cost_usd"] is None) == model.startswith("openai-compatible")
    if report["cost_usd"] is not None:
        assert report["cost_usd"] == pytest.approx(planted_runs.bill(model, server.books))
    assert planted_runs.KEY not in json.dumps(report)


def test_a_judge_that_obeys_injected_commands_is_reported(tmp_path: Path) -> None:
    with ProviderServer(brain(obedient)) as server:
        result = check(server, tmp_path)
    injected = [entry for entry in SHOWN.values() if entry.commands is not None]
    assert f"{len(injected)} of {len(injected)} items that command a grade got it" in result.output
    assert "about 0.0 would be expected without the command" in result.output
    assert re.search(rf"injection +{len(injected)} +0\.00", result.output)
    [path] = (tmp_path / "judges").glob("*.json")
    report = json.loads(path.read_text())
    assert str(path) in result.output
    assert report["agreement"]["exact"]["value"] == pytest.approx(1 - len(injected) / 200)


def test_probabilities_give_an_expected_grade(tmp_path: Path) -> None:
    with ProviderServer(brain(truth)) as server:
        report = findings(check(server, tmp_path, "--json", "--ask", "logprobs", "--max", "8", model=MODELS[2]))
    assert value(report, "exact") == 1
    # Means of 0.7 on the grade and 0.1 on each other: off by 0.6, 0.4, 0.2 and 0.
    assert report["expected_error"] == pytest.approx((0.6 + 0.2 + 0.2 + 0.6) / 4, abs=1e-3)


def test_the_effect_of_item_order_is_measured(tmp_path: Path) -> None:
    arguments = ("--json", "--per-call", "8", "--shuffle", "5")
    with ProviderServer(brain(truth)) as server:
        steady = findings(check(server, tmp_path, *arguments))
        assert len(server.books) == 2 * 200 / 8
    with ProviderServer(brain(tired)) as server:
        swayed = findings(check(server, tmp_path / "other", *arguments))
    assert steady["order"]["flip_rate"]["value"] == 0
    assert steady["order"]["n"] == swayed["order"]["n"] == 200
    # Three of four positions get grade 3. A grade changes if the item is early in just one of the two orders, unless 3 is right.
    assert swayed["order"]["flip_rate"]["value"] == pytest.approx(2 * 0.25 * 0.75 * 0.75, abs=0.08)
    assert value(swayed, "difference") > 0.5


@pytest.mark.parametrize("shift", [-1, 1])
def test_a_misnumbered_group_is_asked_again_and_then_item_by_item(shift: int, tmp_path: Path) -> None:
    answer = brain(truth)

    def misnumber(system: str, user: str, schema: dict[str, Any]) -> dict[str, Any]:
        answers = answer(system, user, schema)
        return {str(int(number) + shift): grade for number, grade in answers.items()} if "$defs" in schema else answers

    with ProviderServer(misnumber) as server:
        report = findings(check(server, tmp_path, "--json", "--per-call", "8", "--max", "16"))
        assert len(server.books) == 2 * 2 + 16
    assert report["n"] == 16
    assert value(report, "exact") == 1


def test_a_stopped_check_resumes_and_asks_nothing_twice(tmp_path: Path) -> None:
    arguments = ("--json", "--max", "20", "--set", "judge.concurrency=1")
    with ProviderServer(brain(truth), Script(*[None] * 7, "401")) as server:
        stopped = check(server, tmp_path, *arguments)
        assert stopped.exit_code == 5
        assert len(stopped.stderr.strip().splitlines()) == 1
        assert sum(entry.billed for entry in server.books) == 7
        report = findings(check(server, tmp_path, *arguments))
        assert sum(entry.billed for entry in server.books) == 20
        assert findings(check(server, tmp_path, *arguments)) == report
        assert sum(entry.billed for entry in server.books) == 20
    assert report["n"] == report["calls"] == 20


def test_a_second_check_reuses_the_answers_of_the_first(tmp_path: Path) -> None:
    with ProviderServer(brain(truth)) as server:
        assert check(server, tmp_path, "--max", "12").exit_code == 0
        assert findings(check(server, tmp_path, "--json", "--max", "40"))["n"] == 40
        assert len(server.books) == 40


def test_the_budget_is_a_hard_stop(tmp_path: Path) -> None:
    arguments = ("--max", "16", "--set", "judge.concurrency=1")
    with ProviderServer(brain(truth)) as server:
        stopped = check(server, tmp_path, *arguments, "--usd", "0.02")
        assert stopped.exit_code == 4
        assert "$" in stopped.stderr
        served = len(server.books)
        assert 0 < served < 16
        assert planted_runs.bill(MODELS[0], server.books) <= 0.02
        assert findings(check(server, tmp_path, *arguments, "--usd", "5", "--json"))["n"] == 16
        assert len(server.books) == 16


def test_failed_questions_are_unscored(tmp_path: Path) -> None:
    faults = Script("refusal", "truncated", "out_of_range", "invalid_json", "500")
    with ProviderServer(brain(truth), faults) as server:
        arguments = ("--json", "--max", "12", "--set", "judge.concurrency=1")
        report = findings(check(server, tmp_path, *arguments))
        assert len(server.books) == 13, "only the 500 is asked again"
    assert report["unscored"] == {"refusal": 1, "truncated": 1, "out_of_range": 1, "parse_failure": 1}
    assert value(report, "exact") == 1
    assert sum(map(sum, report["confusion"])) == 8
    assert [item["given"] for item in report["items"]].count(None) == 4


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["anthropic/claude-nothing"], 5, "claude-nothing"),
        (["nonsense"], 2, "anthropic/MODEL"),
        ([], 2, "--base-url or --llm"),
        (["embedded", "--items", "nowhere.toml"], 2, "nowhere.toml"),
        (["embedded", "--ask", "logprobs", "--per-call", "2"], 2, "exclude"),
        (["embedded", "--shuffle", "1"], 2, "--per-call"),
        (["embedded", "--set", "judge.colour=blue"], 2, "colour"),
        (["embedded", "--llm"], 2, "--llm"),
        (["openai/unheard-of", "--usd", "1"], 2, "unheard-of"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(
    arguments: list[str], code: int, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ProviderServer(brain(truth), Script(then="404_model")) as server:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
        command = ["judges", "check", *arguments, "--quiet", "--results", str(tmp_path)]
        result = CliRunner().invoke(main, command)
    assert result.exit_code == code
    assert word in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_the_cost_is_forecast_before_the_first_call(tmp_path: Path) -> None:
    with ProviderServer(brain(truth), Script(then="401")) as server:
        command = ["judges", "check", MODELS[0], "--base-url", server.url, "--results", str(tmp_path), "--max", "4"]
        result = CliRunner().invoke(main, command)
    assert result.exit_code == 5
    assert re.search(r"4 calls to anthropic/claude-haiku-4-5, about [\d,]+ input .* about \$0\.0", result.stderr)


def test_the_embedded_judge_is_named_as_not_an_llm(tmp_path: Path) -> None:
    result = check(None, tmp_path, model="embedded")
    assert result.exit_code == 0
    assert result.stdout.startswith("embedded, a baseline that is not an LLM")
    assert "no calls, no cost" in result.stdout
    again = findings(check(None, tmp_path, "--json", "--per-call", "10", model="embedded"))
    assert again["judge_is_llm"] is False
    [one] = [p for p in (tmp_path / "judges").glob("*.json") if "reason-1-" in p.name]
    single = json.loads(one.read_text())
    assert [item["given"] for item in again["items"]] == [item["given"] for item in single["items"]]


def test_a_table_of_mean_grades_is_checked(tmp_path: Path) -> None:
    """A judge that says 3: of right grades 3 and 2.5, it agrees with everybody on the first and with half of the people on the second."""
    table = tmp_path / "mine.csv"
    table.write_text("explanation,marked,grade\nrivers,the <<Oder>>,3\nrivers,an <<order>>,2.5\nprices,a <<fee>>,2.5\n")
    with ProviderServer(lambda system, user, schema: {"reason": "", "grade": 3}) as server:
        report = findings(check(server, tmp_path, "--json", "--items", str(table)))
    assert (report["n"], report["set"]["name"]) == (3, "mine")
    assert [value(report, "exact"), report["traps"]["none"]["exact"]] == pytest.approx([2 / 3] * 2)
    assert [value(report, "difference"), report["traps"]["none"]["difference"]] == pytest.approx([1 / 3] * 2)
    assert report["confusion"][3] == [0, 0, 0, 3]
    assert [item["grade"] for item in report["items"]] == [3, 2.5, 2.5]


@given(st.integers(0, 3))
def test_a_constant_judge_obeys_no_more_often_than_expected(grade: int) -> None:
    plan = Plan(JudgeSettings(), SET.items, SET, rubric.load("specificity"))
    given_ = {item.id: ItemAnswer(Outcome.SCORED, grade, None, "") for item in SET.items}
    result = CheckResult(plan, "constant", False, given_, {}, {})
    injection = figures.injection_effect(result)
    assert injection["obeyed"] == sum(item.entry.commands == grade for item in SET.items)
    assert injection["without"] * injection["n"] == pytest.approx(injection["obeyed"])
    adjusted = figures.position_effect(result)
    assert [part["adjusted"] for part in adjusted.values()] == pytest.approx([0.0] * 3)
    assert sum(part["n"] for part in adjusted.values()) == 200
