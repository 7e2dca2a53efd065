"""A unit is explained and graded from its page, for a price that was shown, and nobody pays more than was allowed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support import explorer_index
from support.explorer_http import finished, get, send
from support.explorer_server import served
from support.explorer_spec import spec
from support.providers.server import ProviderServer, Script

from autointerp.calls import caller
from autointerp.calls.answers import MAX_TRIES
from autointerp.explorer.labels.allowance import DEFAULT_USD, Allowance, allowance
from autointerp.explorer.web.library import INDEX, Library
from autointerp.judges import retry
from autointerp.ledger import runs
from autointerp.ledger.database import Ledger
from autointerp.spec.sections import Budget
from autointerp.spec.spec import Spec

RUN = "synthetic-1"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "_backoff", lambda state: 0.01)
    monkeypatch.setattr(caller, "MIN_PAUSE_S", 0.05)


@pytest.fixture
def provider() -> Iterator[ProviderServer]:
    with ProviderServer() as started:
        yield started


def library(results: Path, judged_by: Spec, run: str | None = RUN) -> Library:
    folder = explorer_index.make(results / RUN / INDEX, n_features=40, n_neurons=0, labelled=0.0, run=run)
    (results / RUN / "spec.toml").write_text(judged_by.to_toml())
    return Library(results, folder.path)


def labels(url: str, unit: str = "feature-3") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = get(url, f"/api/units/{unit}")[1]["labels"]
    return found


def test_a_unit_is_explained_and_graded_after_its_price_was_shown(tmp_path: Path, provider: ProviderServer) -> None:
    with served(library(tmp_path, spec(provider.url)), usd=1.0) as url:
        assert labels(url) == []
        status, price = get(url, "/api/units/feature-3/price?of=explain")
        assert (status, price["calls"], price["problem"], price["left_usd"]) == (200, 1, "", 1.0)
        assert price["line"].startswith("1 call to openai-compatible/a-model: about $0.0")
        assert price["line"].endswith("$1.00 may still be spent here.")
        assert len(provider.books) == 0

        status, task = send(url, "/api/units/feature-3/explain", {})
        assert status == 202
        assert finished(url, task)["state"] == "done"
        [label] = labels(url)
        assert (label["source"], label["explainer"], label["grade"]) == ("live", "openai-compatible/a-model", None)

        price = get(url, "/api/units/feature-3/price?of=grade")[1]
        asked = len(provider.books)
        task = finished(url, send(url, "/api/units/feature-3/grade", {})[1])
        assert (task["state"], task["done"], task["total"]) == ("done", price["calls"], price["calls"])
        assert len(provider.books) - asked == price["calls"]
        [label] = labels(url)
        assert label["grade"] is not None
        assert label["graded"] > 0
        again = get(url, "/api/units/feature-3/price?of=explain")[1]
        assert again["line"] == "Free: openai-compatible/a-model has answered this question already."
        assert again["left_usd"] < 1.0
    with closing(Ledger.in_folder(tmp_path)) as ledger, ledger.read() as tx:  # made for the first question
        assert runs.all_runs(tx) == []


def test_what_may_be_spent_is_a_hard_stop_over_all_units(tmp_path: Path, provider: ProviderServer) -> None:
    with served(library(tmp_path, spec(provider.url)), usd=0.0) as nothing:
        task = finished(nothing, send(nothing, "/api/units/feature-3/explain", {})[1])
        assert task["error"].startswith("--usd = 0 could be exceeded by the next call")
        most = get(nothing, "/api/units/feature-0/price?of=explain")[1]["most_usd"] / MAX_TRIES
    assert len(provider.books) == 0
    usd = 1.15 * most  # one call fits, and what a few have cost leaves no room for another
    with served(Library(tmp_path, tmp_path / RUN / INDEX), usd=usd) as url:
        ends = [finished(url, send(url, f"/api/units/feature-{n}/explain", {})[1]) for n in range(6)]
        assert {task["state"] for task in ends} == {"done", "failed"}
        left = get(url, "/api/units/feature-9/price?of=explain")[1]["left_usd"]
        assert 0 <= left < usd


def test_errors_are_one_line_that_names_the_cause(tmp_path: Path) -> None:
    with ProviderServer(faults=Script(then="401")) as refusing:
        with served(library(tmp_path, spec(refusing.url))) as url:
            task = finished(url, send(url, "/api/units/feature-3/explain", {})[1])
            assert task["state"] == "failed"
            assert task["error"].startswith("openai-compatible/a-model: ")
            assert "\n" not in task["error"]
        with served(library(tmp_path, spec(refusing.url, key_env="KEY_OF_THE_TEST"))) as url:
            price = get(url, "/api/units/feature-3/price?of=explain")[1]
            assert "KEY_OF_THE_TEST" in price["line"]
            assert price["line"].startswith("Cannot be asked: ")
            task = finished(url, send(url, "/api/units/feature-3/explain", {})[1])
            assert "KEY_OF_THE_TEST" in task["error"]


def test_the_same_unit_of_two_indexes_is_asked_about_twice(tmp_path: Path) -> None:
    with ProviderServer(delay_s=0.5) as slow:
        judged_by, other = spec(slow.url), "synthetic-2"
        library(tmp_path, judged_by)
        explorer_index.make(tmp_path / other / INDEX, n_features=40, n_neurons=0, labelled=0.0, run=other, seed=1)
        (tmp_path / other / "spec.toml").write_text(judged_by.to_toml())
        with served(Library(tmp_path, tmp_path / RUN / INDEX)) as url:
            begun = [send(url, f"{base}/api/units/feature-3/explain", {})[1] for base in ("", f"/runs/{other}", "")]
            numbers = [task["task_id"] for task in begun]
            assert numbers[0] == numbers[2] != numbers[1]
            assert [finished(url, task)["state"] for task in begun] == ["done"] * 3
            assert [len(labels(url, unit)) for unit in ("feature-3", "feature-4")] == [1, 0]
            assert len(get(url, f"/runs/{other}/api/units/feature-3")[1]["labels"]) == 1


def test_wrong_requests_are_refused(tmp_path: Path, provider: ProviderServer) -> None:
    with served(library(tmp_path, spec(provider.url))) as url:
        assert get(url, "/api/units/feature-3/price?of=all")[0] == 422
        assert get(url, "/api/units/feature-999/price?of=explain")[0] == 404
        assert send(url, "/api/units/feature-999/explain", {})[0] == 404
        status, problem = send(url, "/api/units/feature-3/grade", {})
        assert (status, problem) == (422, {"error": "feature-3 has no explanation to grade: explain it first"})
        assert get(url, "/api/tasks/99")[0] == 404
        assert send(url, "/api/units/feature-3/explain", {}, origin="http://evil.example")[0] == 403
        assert get(url, "/api/units/feature-3/explain")[0] == 405
    assert len(provider.books) == 0


def test_nothing_is_asked_read_only_or_without_a_run(tmp_path: Path, provider: ProviderServer) -> None:
    with served(library(tmp_path / "read", spec(provider.url)), read_only=True) as url:
        assert get(url, "/api/units/feature-3/price?of=explain")[0] == 422
        assert send(url, "/api/units/feature-3/explain", {})[0] == 403
        assert 'data-asks=""' in get(url, "/u/feature-3")[1]
    with served(library(tmp_path / "alone", spec(provider.url), run=None)) as url:
        status, problem = send(url, "/api/units/feature-3/explain", {})
        assert status == 422
        assert "This index is of no run" in problem["error"]
        assert "This index is of no run" in get(url, "/u/feature-3")[1]
    assert len(provider.books) == 0
    assert not list(tmp_path.rglob("ledger.sqlite"))


def test_the_embedded_judge_is_free_and_said_to_be_no_llm(tmp_path: Path) -> None:
    with served(library(tmp_path, spec(None))) as url:
        price = get(url, "/api/units/feature-3/price?of=explain")[1]
        assert price["line"] == "Free: 1 question to the embedded judge, which is not an LLM."


def test_the_allowance_is_the_option_or_what_the_run_has_left(tmp_path: Path) -> None:
    paid = spec(None, model="openai/gpt-5-mini")
    assert allowance(paid, None, None, RUN).usd == DEFAULT_USD
    assert allowance(paid, 3.0, None, RUN).line == (
        "explanations and grades that are asked for on the pages may cost $3.00 in all (--usd): openai/gpt-5-mini"
    )
    budgeted = paid.model_copy(update={"budget": Budget(usd=5.0)})
    ledger = Ledger.in_folder(tmp_path)
    with ledger.write() as tx:
        runs.register(tx, run_id=RUN, name="run", spec_hash="", spec="")
        tx.exec_driver_sql("UPDATE runs SET spent_usd = 1.5, lost_usd = 0.5")
    assert allowance(budgeted, None, ledger, RUN).usd == 3.0
    ledger.close()
    assert allowance(spec(None), None, None, RUN) == Allowance(None)
    local = {"input_usd_per_mtok": None, "output_usd_per_mtok": None}
    assert allowance(spec("http://127.0.0.1:1", **local), None, None, RUN).usd is None
    assert allowance(spec("http://models.example", **local), None, None, RUN).usd == DEFAULT_USD


@pytest.mark.slow
def test_an_explorer_that_is_killed_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    with ProviderServer(delay_s=0.2) as provider:
        library(tmp_path, spec(provider.url, concurrency=1))
        command = [
            sys.executable,
            "-m",
            "autointerp",
            "explore",
            "--no-browser",
            "--results",
            str(tmp_path),
            RUN,
            "--usd",
            "2",
        ]
        (tmp_path / RUN / "summary.json").write_text("{}")
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stderr is not None
        url = process.stdout.readline().strip().rstrip("/")
        assert finished(url, send(url, "/api/units/feature-3/explain", {})[1])["state"] == "done"
        price = get(url, "/api/units/feature-3/price?of=grade")[1]
        task = send(url, "/api/units/feature-3/grade", {})[1]
        while get(url, f"/api/tasks/{task['task_id']}")[1]["done"] < 2:
            pass
        process.kill()
        assert "may cost $2.00 in all (--usd)" in process.communicate()[1]
        with served(Library(tmp_path, tmp_path / RUN / INDEX), usd=1.0) as again:
            left = get(again, "/api/units/feature-3/price?of=grade")[1]["calls"]
            assert 0 < left < price["calls"]
            assert finished(again, send(again, "/api/units/feature-3/grade", {})[1])["state"] == "done"
            assert labels(again)[0]["grade"] is not None
        # One answer may have been on its way when the process was killed.
        assert price["calls"] <= len(provider.books) - 1 <= price["calls"] + 1
