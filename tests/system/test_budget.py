"""`budget.usd` is a hard stop by the server's own books, whatever the server does, and raising it goes on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.planted_world import runs as planted_runs
from support.planted_world import world as planted
from support.planted_world.provider_replies import think_apart
from support.providers import protocols as wire
from support.providers.server import Faults, ProviderServer
from support.services import ledger_worker

from autointerp.calls.cost_limits import input_bound
from autointerp.cli.main import main
from autointerp.judges import prices, retry
from autointerp.ledger import budgets, nights
from autointerp.ledger import runs as ledger_runs
from autointerp.ledger.budgets import Limits
from autointerp.ledger.database import Ledger
from autointerp.prompts import explanation

MODEL = planted_runs.MODELS[0]
Command = Callable[..., Result]
N_CALLS = {"run": 1000, "night": 250, "month": 250}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    return planted.make(tmp_path_factory.mktemp("world"))


@pytest.fixture
def command(world: planted.World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs the command line with a budget over twelve units."""
    for name in planted_runs.KEYS:
        monkeypatch.setenv(name, planted_runs.KEY)
    monkeypatch.setattr(retry, "_backoff", lambda state: 0.01)
    few = {"feature_ids": list(range(6)), "neuron_ids": [f"{i}+" for i in range(6)]}

    def run(server: ProviderServer, usd: float | None, model: str = MODEL, *, priced: bool = True) -> Result:
        judge = planted_runs.judge(model, server)
        if not priced:
            judge = {key: value for key, value in judge.items() if key not in planted_runs.PRICED}
        spec = tmp_path / "spec.toml"
        spec.write_text(world.spec(units=few, score={"per_bin": 2}, judge=judge).to_toml())
        budget = [] if usd is None else ["--set", f"budget.usd={usd!r}"]
        return CliRunner().invoke(main, ["run", str(spec), *budget, "--results", str(tmp_path / "results"), "--quiet"])

    return run


@pytest.fixture(scope="module")
def whole(world: planted.World, tmp_path_factory: pytest.TempPathFactory) -> float:
    """What the run costs in all."""
    few = {"feature_ids": list(range(6)), "neuron_ids": [f"{i}+" for i in range(6)]}
    with ProviderServer(think_apart) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANTHROPIC_API_KEY", planted_runs.KEY)
        run, ledger = planted_runs.prepare(
            world,
            tmp_path_factory.mktemp("whole"),
            units=few,
            score={"per_bin": 2},
            judge=planted_runs.judge(MODEL, server),
        )
        summary = planted_runs.carry(run, ledger)
    assert summary["cost_usd"] == pytest.approx(planted_runs.bill(MODEL, server.books))
    return float(summary["cost_usd"])


def test_a_budget_stops_the_run_before_it_is_exceeded(command: Command, whole: float, tmp_path: Path) -> None:
    with ProviderServer(think_apart) as server:
        spent = []
        for share in (0.3, 0.3, 0.6):
            stopped = command(server, share * whole)
            spent.append(planted_runs.bill(MODEL, server.books))
            assert stopped.exit_code == 4, stopped.output
            [line] = stopped.stderr.splitlines()
            assert f"budget.usd = {share * whole:g}" in line
            assert "raise it and run the same command" in line
            assert spent[-1] <= share * whole
        done = command(server, 2 * whole)
    assert spent[0] > 0.3 * whole - 0.02, "it stopped long before its end"
    assert spent[1] == spent[0], "the same budget buys nothing more"
    assert spent[2] > spent[1]
    assert done.exit_code == 0, done.output
    assert set(Counter(entry.body_hash for entry in server.books).values()) == {1}
    assert planted_runs.bill(MODEL, server.books) == pytest.approx(whole)
    assert len(list((tmp_path / "results").glob("planted-*"))) == 1, "a budget does not name a run"


@pytest.mark.slow
def test_threads_wait_for_each_others_reservations(command: Command, whole: float) -> None:
    """Money for little more than one reservation at a time: the run goes on to its end all the same."""
    with ProviderServer(think_apart, delay_s=0.002) as server:
        done = command(server, whole + 0.015)
    assert done.exit_code == 0, done.output
    assert planted_runs.bill(MODEL, server.books) == pytest.approx(whole)


@pytest.mark.slow
def test_replies_that_never_came_count_at_their_upper_bound(command: Command, whole: float) -> None:
    """The server bills them, and nobody told us how much."""
    faults = Faults(0.3, seed=2, kinds=("drop_body", "not_json", "truncated", "refusal", "invalid_json"))
    with ProviderServer(think_apart, faults) as server:
        stopped = command(server, 0.7 * whole)
    assert stopped.exit_code == 4, stopped.output
    assert "for replies that were lost" in stopped.stderr
    assert planted_runs.bill(MODEL, server.books) <= 0.7 * whole
    assert any(entry.billed and not entry.delivered for entry in server.books)


@pytest.mark.slow
def test_a_server_that_counts_no_tokens_cannot_outrun_a_budget(command: Command, whole: float) -> None:
    model = planted_runs.MODELS[2]
    with ProviderServer(think_apart, report_usage=False) as server:
        stopped = command(server, 0.1, model)
    assert stopped.exit_code == 4, stopped.output
    assert 0 < planted_runs.bill(model, server.books) <= 0.1


def test_a_budget_needs_a_price(command: Command, tmp_path: Path) -> None:
    with ProviderServer(think_apart) as server:
        refused = command(server, 1.0, planted_runs.MODELS[2], priced=False)
    assert refused.exit_code == 2
    [line] = refused.stderr.splitlines()
    assert "the price of openai-compatible/qwen is unknown" in line
    assert "judge.input_usd_per_mtok" in line
    assert server.books == []
    assert not (tmp_path / "results" / "artifacts").exists(), "it was refused only after the harvest"


def test_no_call_costs_more_than_its_reservation(command: Command) -> None:
    """The bound that is set aside holds for text of which tokenizers make the most tokens."""
    from autointerp.messages import ExplainMaterial, MarkedText, Usage
    from autointerp.spec import rubric

    text = MarkedText(("漢字", "🙂🙂", "\ud800", "ẞß", "<<x>>", "\0\n"), 1, (1, 2, 3, 4, 5, 6))
    prompt = explanation.prompt(rubric.load("specificity"), ExplainMaterial((text,) * 4, (text,)), 200)
    price = planted_runs.price(MODEL)
    most = prices.max_cost(input_bound(prompt), prompt.max_tokens, price)
    bytes_ = len((prompt.system + prompt.user).encode("utf-8", "replace"))
    assert most is not None
    assert most >= (prices.cost(Usage(output_tokens=200, cache_write_tokens=bytes_), price) or 0.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("database", "scope"),
    [
        ("sqlite", "run"),
        ("postgresql", "run"),
        ("sqlite", "month"),
        ("postgresql", "night"),
    ],
)
def test_200_threads_in_4_processes_never_exceed_a_budget(
    database: str, scope: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """And no fewer than what the replies really cost allows: who finds no money waits while others may give some back."""
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
    if database == "postgresql":
        url = request.getfixturevalue("postgres_service").ledger()
    bound, cost = ledger_worker.MAX_TOKENS, wire.tokens(json.dumps({"grade": 2})) + 3
    most = N_CALLS[scope] * cost
    ledger = Ledger.open(url)
    with ledger.write() as tx:
        for run_id in ("a", "b"):
            night = "2026-11-21" if scope == "night" else ""
            ledger_runs.register(tx, run_id=run_id, name="run", spec_hash="", spec="", night=night)
        nights.begin(tx, "2026-11-21", most if scope == "night" else None)
    limits = Limits(run=most if scope == "run" else None, month=most if scope == "month" else None)
    mine = "aaaa" if scope == "run" else "abab"
    with ProviderServer() as server, ledger_worker.processes(4) as pool:
        stopped = [
            pool.submit(ledger_worker.spend, url, server.url, run_id, f"worker-{n}", limits, 50, 40)
            for n, run_id in enumerate(mine)
        ]
        assert [end.result() for end in stopped] == [50] * 4, "every thread went on to the budget's end"
        billed = [entry.output_tokens for entry in server.books if entry.billed]
    assert set(billed) == {cost}
    assert len(billed) <= N_CALLS[scope]
    assert len(billed) == (most - bound) // cost + 1, "the last call was made while its upper bound fitted"
    with ledger.read() as tx:
        rows = [ledger_runs.get(tx, run_id) for run_id in "ab"]
        paid = {
            "run": rows[0]["spent_usd"] if rows[0] else 0.0,
            "night": budgets.committed(tx, "night 2026-11-21"),
            "month": budgets.committed(tx, f"month {budgets.month_of(limits)}"),
        }
    assert paid[scope] == sum(billed)
    assert sum(row["spent_usd"] for row in rows if row) == sum(billed)
    assert all(row["reserved_usd"] == row["lost_usd"] == 0.0 for row in rows if row)
    ledger.close()
