"""Whole runs through the real SDKs over real HTTP, with every fault a provider can have."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from support.planted_world import runs as planted_runs
from support.planted_world import world as planted
from support.planted_world.provider_replies import think, think_apart
from support.providers.protocols import read_request
from support.providers.server import FINAL, TRANSIENT, Entry, Faults, ProviderServer, Script

from autointerp.calls import caller
from autointerp.cli.main import main
from autointerp.judges import registry, retry
from autointerp.ledger import calls, runs
from autointerp.ledger import judgements as judgement_rows
from autointerp.ledger.database import Ledger
from autointerp.ledger.schema import calls as call_rows
from autointerp.run import Run

EXPECTED = {
    None: "scored",
    "truncated": "truncated",
    "refusal": "refusal",
    "invalid_json": "parse_failure",
    "out_of_range": "out_of_range",
    "content_policy": "content_rejected",
    "too_long": "too_long",
    "413": "too_long",
    "400": "provider_error",
}
"""What an item ends as when this is the last thing that the server did with it; after any other fault, a provider error."""
FEW: dict[str, Any] = {"score": {"per_bin": 1}, "controls": {"shuffled": 1, "base_rate": 1}}
SILENT = ("drop", "drop_body", "not_json", "slow", "trickle")
"""Faults after which nobody can tell whether the provider bills."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    return planted.make(tmp_path_factory.mktemp("world"))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys, and waits that are as many as ever but short."""
    for name in planted_runs.KEYS:
        monkeypatch.setenv(name, planted_runs.KEY)
    monkeypatch.setattr(retry, "_backoff", lambda state: 0.01)
    monkeypatch.setattr(caller, "MIN_PAUSE_S", 0.05)


@pytest.fixture(scope="module")
def in_process(world: planted.World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the judge that needs no provider finds."""
    judge = planted.PlantedJudge()
    run, ledger = planted_runs.prepare(world, tmp_path_factory.mktemp("results"), **FEW)
    return planted_runs.carry(run, ledger, registry.Judges(judge, judge))


@pytest.mark.parametrize(
    "model", [planted_runs.MODELS[0], *(pytest.param(name, marks=pytest.mark.slow) for name in planted_runs.MODELS[1:])]
)
def test_a_provider_gives_the_results_of_the_planted_judge(
    model: str, world: planted.World, in_process: dict[str, Any], tmp_path: Path
) -> None:
    with ProviderServer(think) as server:
        run, ledger = planted_runs.prepare(world, tmp_path, **FEW, judge=planted_runs.judge(model, server))
        summary = planted_runs.carry(run, ledger)
    assert summary["headline"] == in_process["headline"]
    assert summary["bins"] == in_process["bins"]
    assert summary["controls"] == in_process["controls"]
    assert (summary["judge"], summary["judge_is_llm"]) == (model, True)
    assert summary["served_models"] == [model.partition("/")[2]]
    assert len({entry.body_hash for entry in server.books}) == len(server.books) == summary["calls"]
    assert summary["cost_usd"] == pytest.approx(planted_runs.bill(model, server.books), rel=1e-9)


@pytest.mark.slow
def test_every_fault_is_stored_with_its_reason(world: planted.World, tmp_path: Path) -> None:
    """2,000 judgements, a fifth of all attempts failing: nothing is lost, doubled or made up."""
    faults = Faults(0.2, seed=4, kinds=(*TRANSIENT, *FINAL, "slow"))
    model = planted_runs.MODELS[0]
    with ProviderServer(think, faults, slow_s=30.0) as server:
        settings = planted_runs.judge(model, server, timeout_s=4.0, concurrency=16)
        run, ledger = planted_runs.prepare(
            world, tmp_path, score={"per_bin": 6}, controls={"shuffled": 8, "base_rate": 8}, judge=settings
        )
        summary = planted_runs.carry(run, ledger)
        books, bodies = list(server.books), list(server.bodies)
    judgements = planted_runs.tables(run.folder)["judgements"]
    assert len(judgements) >= 2000
    assert set(faults.kinds) == {entry.fault for entry in books if entry.fault}
    assert not judgements.duplicated(["exemplar_id", "arm", "repeat", "unit_id"]).any()
    _matches_the_books(run, ledger, books, bodies)
    _spent_what_was_served(model, run, ledger, books, summary)


def _matches_the_books(run: Run, ledger: Ledger, books: list[Entry], bodies: list[Any]) -> None:
    """Every attempt in the ledger is one in the server's books, and every judgement is what its job's last attempt came to."""
    served: dict[str, list[Entry]] = defaultdict(list)
    for entry, body in zip(books, bodies, strict=True):
        served[read_request(entry.protocol, body)[1]].append(entry)
    with ledger.read() as tx:
        rows = tx.execute(sa.select(call_rows).order_by(call_rows.c.call_id)).mappings().all()
        judged = judgement_rows.judgement_rows(tx, run.run_id)
    assert Counter(row["user"] for row in rows) == {user: len(entries) for user, entries in served.items()}
    by_job: dict[str, Entry] = {}
    by_question: dict[str, list[Entry]] = defaultdict(list)
    for row in rows:
        by_job[row["job_key"]] = served[row["user"]].pop(0)
        by_question[row["call_key"]].append(by_job[row["job_key"]])
    expected = {key: EXPECTED.get(entry.fault, "provider_error") for key, entry in by_job.items()}
    for judgement in judged:
        shared = by_question.get(str(judgement["call_key"]), [])
        answers = [EXPECTED[entry.fault] for entry in shared if entry.fault in EXPECTED and entry.fault != "400"]
        told = expected.get(str(judgement["job_key"]), answers[0] if answers else "no_explanation")
        assert judgement["outcome"] == told, judgement
        assert (judgement["score"] is not None) == (told == "scored")
        assert len(answers) <= 1, "an answered question was asked again"


def _spent_what_was_served(model: str, run: Run, ledger: Ledger, books: list[Entry], summary: dict[str, Any]) -> None:
    delivered = [entry for entry in books if entry.delivered]
    for name in ("input", "output", "cache_write", "cache_read"):
        assert summary["tokens"][name] == sum(getattr(entry, f"{name}_tokens") for entry in delivered), name
    assert summary["cost_usd"] == pytest.approx(planted_runs.bill(model, delivered), rel=1e-9)
    silent = [entry for entry in books if entry.fault in SILENT]
    assert summary["lost_calls"] == len(silent)
    assert summary["lost_usd_at_most"] >= planted_runs.bill(model, [entry for entry in silent if entry.billed])
    refused = [
        entry
        for entry in books
        if not entry.billed and entry.fault not in (*SILENT, "content_policy", "too_long", "413")
    ]
    assert summary["failed_attempts"] == len(refused)
    with ledger.read() as tx:
        row = runs.get(tx, run.run_id)
        states = set(tx.execute(sa.select(call_rows.c.state)).scalars())
    assert row is not None
    assert row["reserved_usd"] == pytest.approx(0.0, abs=1e-12)
    assert row["spent_usd"] == pytest.approx(summary["cost_usd"], rel=1e-9)
    assert calls.OPEN not in states


@pytest.fixture
def small(world: planted.World, tmp_path: Path) -> Callable[..., list[str]]:
    """The arguments of a command that asks twelve explanations and some hundred judgements."""

    def command(model: str, server: ProviderServer, **changes: Any) -> list[str]:
        few = {"feature_ids": list(range(6)), "neuron_ids": [f"{i}+" for i in range(6)]}
        spec = world.spec(units=few, **FEW, judge=planted_runs.judge(model, server, **changes))
        path = tmp_path / "spec.toml"
        path.write_text(spec.to_toml())
        return ["run", str(path), "--results", str(tmp_path / "results"), "--quiet"]

    return command


@pytest.mark.parametrize(
    ("fault", "model", "said"),
    [
        ("429_long", planted_runs.MODELS[0], "judge.max_wait_s = 900"),
        pytest.param("429_long", planted_runs.MODELS[2], "judge.max_wait_s = 900", marks=pytest.mark.slow),
        pytest.param(
            "insufficient_quota", planted_runs.MODELS[1], "settle it with the provider", marks=pytest.mark.slow
        ),
        pytest.param("spend_limit", planted_runs.MODELS[0], "settle it with the provider", marks=pytest.mark.slow),
        ("spend_limit", planted_runs.MODELS[1], "settle it with the provider"),
        ("401", planted_runs.MODELS[2], "check the API key"),
        pytest.param("404_model", planted_runs.MODELS[0], "retired", marks=pytest.mark.slow),
        ("400", planted_runs.MODELS[1], "the same error 10 times in a row"),
    ],
)
def test_a_run_stops_in_one_line_and_the_same_command_continues(
    fault: str, model: str, said: str, small: Callable[..., list[str]], tmp_path: Path
) -> None:
    with ProviderServer(think_apart, Script(*[None] * 30, then=fault)) as server:
        command = small(model, server)
        stopped = CliRunner().invoke(main, command)
        asked = len(server.books)
        server.faults = Faults()
        done = CliRunner().invoke(main, command)
    assert stopped.exit_code == 5, stopped.output
    [line] = stopped.stderr.splitlines()
    assert line.startswith(f"autointerp: {model}: ")
    assert said in line
    assert planted_runs.KEY not in line
    assert asked <= 30 + 10 + 2 * 8, "the others went on asking"
    assert done.exit_code == 0, done.output
    answered = Counter(entry.body_hash for entry in server.books if entry.delivered)
    assert set(answered.values()) == {1}
    [folder] = (tmp_path / "results").glob("planted-*")
    assert set(planted_runs.tables(folder)["judgements"]["outcome"]) == {"scored"}


@pytest.mark.slow
def test_no_answer_is_lost_if_a_server_goes_away(small: Callable[..., list[str]], tmp_path: Path) -> None:
    model = planted_runs.MODELS[2]
    with ProviderServer(think_apart, Script(*[None] * 8, then="drop")) as server:
        command = small(model, server)
        port = int(server.url.rpartition(":")[2])
        first = CliRunner().invoke(main, command)
    second = CliRunner().invoke(main, command)
    with ProviderServer(think_apart, port=port):
        done = CliRunner().invoke(main, command)
    assert (first.exit_code, second.exit_code) == (5, 5)
    assert " lost: the connection" in first.stderr, "a dropped question may be billed, and counts as an unusable reply"
    assert "the same error 10 times in a row" in second.stderr
    assert done.exit_code == 0, done.output
    [folder] = (tmp_path / "results").glob("planted-*")
    tables = planted_runs.tables(folder)
    assert set(tables["units"]["explanation_outcome"]) == {"scored"}
    assert set(tables["judgements"]["outcome"]) == {"scored"}


@pytest.mark.slow
def test_pauses_that_a_provider_asks_for_are_waited_for(small: Callable[..., list[str]], tmp_path: Path) -> None:
    """More 429 in a row than there are attempts: the item goes back to the ledger until its time, and nothing is unscored."""
    with ProviderServer(think_apart, Script(*[None] * 20, *["429", "overloaded"] * 60)) as server:
        done = CliRunner().invoke(main, small(planted_runs.MODELS[0], server))
    assert done.exit_code == 0, done.output
    [folder] = (tmp_path / "results").glob("planted-*")
    assert set(planted_runs.tables(folder)["judgements"]["outcome"]) == {"scored"}


def test_endless_pauses_stop_the_run(small: Callable[..., list[str]]) -> None:
    with ProviderServer(think_apart, Script(*[None] * 20, then="429")) as server:
        stopped = CliRunner().invoke(main, small(planted_runs.MODELS[1], server, max_wait_s=1.0))
    assert stopped.exit_code == 5
    assert "longer than judge.max_wait_s = 1 allows" in stopped.stderr
