"""What a dry run says a run will ask is what the run then asks, before its start and half way through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.planted_world import runs as planted_runs
from support.planted_world import world as planted
from support.planted_world.provider_replies import think, think_apart
from support.providers.server import Entry, Faults, ProviderServer, Script

from autointerp.cli.main import main
from autointerp.costs import run_forecast
from autointerp.errors import ProviderStopped
from autointerp.judges import registry

UNITS = {"feature_ids": list(range(0, 16, 2)), "neuron_ids": [f"{i}+" for i in range(0, 16, 2)]}
SCORE = {"per_bin": 1}
CONTROLS = {"shuffled": 2, "base_rate": 2}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    return planted.make(tmp_path_factory.mktemp("world"))


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in planted_runs.KEYS:
        monkeypatch.setenv(name, planted_runs.KEY)


def tokens(entries: list[Entry]) -> int:
    """Input and output tokens by the server's own tokenizer, cached ones included."""
    return sum(e.input_tokens + e.cache_write_tokens + e.cache_read_tokens + e.output_tokens for e in entries)


def foreseen(forecast: run_forecast.Forecast) -> tuple[int, int]:
    """Calls and tokens of a forecast."""
    return (
        sum(stage.cost.calls for stage in forecast.stages),
        sum(stage.cost.input_tokens + stage.cost.output_tokens for stage in forecast.stages),
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "done"),
    [
        (planted_runs.MODELS[0], 0),
        (planted_runs.MODELS[0], 60),
        (planted_runs.MODELS[1], 9),
        (planted_runs.MODELS[2], 0),
        (planted_runs.MODELS[2], 60),
    ],
)
def test_calls_are_exact_and_tokens_within_a_tenth(model: str, done: int, world: planted.World, tmp_path: Path) -> None:
    with ProviderServer(think_apart, Script(*[None] * done, then="insufficient_quota")) as server:
        settings = planted_runs.judge(model, server, concurrency=2)
        run, ledger = planted_runs.prepare(world, tmp_path, units=UNITS, score=SCORE, controls=CONTROLS, judge=settings)
        if done:
            with pytest.raises(ProviderStopped):
                planted_runs.carry(run, ledger)
        before = len(server.books)
        calls, expected = foreseen(run_forecast.forecast(run, ledger))
        assert len(server.books) == before, "a forecast asks nothing"
        server.faults = Faults()
        planted_runs.carry(run, ledger)
    asked = server.books[before:]
    assert calls == len(asked)
    assert expected == pytest.approx(tokens(asked), rel=0.1)
    assert foreseen(run_forecast.forecast(run, ledger)) == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "done"),
    [
        (planted_runs.MODELS[0], 60),
        (planted_runs.MODELS[1], 0),
        (planted_runs.MODELS[1], 60),
    ],
)
def test_cached_tokens_are_forecast(model: str, done: int, world: planted.World, tmp_path: Path) -> None:
    """From what the provider documents (OpenAI: 1,024 tokens), and from earlier calls where it documents nothing for the model."""
    with ProviderServer(think_apart, Script(*[None] * done, then="insufficient_quota")) as server:
        settings = planted_runs.judge(model, server, concurrency=2)
        run, ledger = planted_runs.prepare(world, tmp_path, units=UNITS, score=SCORE, controls=CONTROLS, judge=settings)
        if done:
            with pytest.raises(ProviderStopped):
                planted_runs.carry(run, ledger)
        before = len(server.books)
        _, scoring = run_forecast.forecast(run, ledger).stages
        server.faults = Faults()
        planted_runs.carry(run, ledger)
    read = sum(entry.cache_read_tokens for entry in server.books[before:])
    assert read > 0.5 * scoring.cost.input_tokens
    assert scoring.cost.cached_tokens == pytest.approx(read, rel=0.1)
    assert (
        f"about {scoring.cost.cached_tokens:,} of them from its cache"
        in run_forecast.Forecast("r", (scoring,), ()).describe()
    )


def test_no_cached_tokens_are_forecast_for_an_undocumented_cache(world: planted.World, tmp_path: Path) -> None:
    with ProviderServer(think_apart) as server:
        settings = planted_runs.judge(planted_runs.MODELS[0], server)
        run, ledger = planted_runs.prepare(world, tmp_path, units=UNITS, score=SCORE, controls=CONTROLS, judge=settings)
        assert [stage.cost.cached_tokens for stage in run_forecast.forecast(run, ledger).stages] == [0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("ask", ["reason", "grade"])
def test_grouped_questions_are_forecast(ask: str, world: planted.World, tmp_path: Path) -> None:
    with ProviderServer(think_apart) as server:
        settings = planted_runs.judge(planted_runs.MODELS[1], server, concurrency=2)
        run, ledger = planted_runs.prepare(
            world, tmp_path, units=UNITS, score=SCORE | {"per_call": 5, "ask": ask}, controls=CONTROLS, judge=settings
        )
        calls, expected = foreseen(run_forecast.forecast(run, ledger))
        planted_runs.carry(run, ledger)
        judged = planted_runs.tables(run.folder)["judgements"]
    assert calls == len(server.books) == len(run.units) + -(-len(judged) // 5)
    assert expected == pytest.approx(tokens(server.books), rel=0.1)
    assert set(judged["outcome"]) == {"scored"}


@pytest.mark.slow
def test_a_question_that_several_units_share_is_forecast_once(world: planted.World, tmp_path: Path) -> None:
    """Once explanations are known: then those of some units are the same, and so are some of their windows."""
    score, controls = {"per_bin": 4}, {"shuffled": 10, "base_rate": 2}
    with ProviderServer(think, Script(*[None] * 40, then="insufficient_quota")) as server:
        run, ledger = planted_runs.prepare(
            world, tmp_path, score=score, controls=controls, judge=planted_runs.judge(planted_runs.MODELS[2], server)
        )
        with pytest.raises(ProviderStopped):
            planted_runs.carry(run, ledger)
        before = len(server.books)
        calls, _ = foreseen(run_forecast.forecast(run, ledger))
        server.faults = Faults()
        summary = planted_runs.carry(run, ledger)
    assert calls == len(server.books) - before
    judged = planted_runs.tables(run.folder)["judgements"]
    assert summary["calls"] < len(judged) + len(run.units), "the world has no question that two units share"


@pytest.mark.slow
def test_answers_of_another_run_are_not_asked_again(world: planted.World, tmp_path: Path) -> None:
    with ProviderServer(think_apart) as server:
        settings: dict[str, Any] = {
            "units": UNITS,
            "score": SCORE,
            "controls": CONTROLS,
            "judge": planted_runs.judge(planted_runs.MODELS[1], server),
        }
        first, ledger = planted_runs.prepare(world, tmp_path, **settings)
        planted_runs.carry(first, ledger)
        second, ledger = planted_runs.prepare(world, tmp_path, **settings, report={"confidence": 0.9})
        asked = len(server.books)
        assert foreseen(run_forecast.forecast(second, ledger)) == (0, 0)
        summary = planted_runs.carry(second, ledger)
    assert first.run_id != second.run_id
    assert len(server.books) == asked
    assert summary["calls"] == 0
    assert set(planted_runs.tables(second.folder)["judgements"]["outcome"]) == {"scored"}


@pytest.mark.slow
def test_embedded_explanations_are_made_for_the_forecast(world: planted.World, tmp_path: Path) -> None:
    """With the embedded explainer the judge's prompts are known in full."""
    with ProviderServer(think_apart) as server:
        judge = planted_runs.judge(planted_runs.MODELS[0], server)
        run, ledger = planted_runs.prepare(
            world, tmp_path, units=UNITS, score=SCORE, controls=CONTROLS, judge=judge, explainer={"model": "embedded"}
        )
        explain, score = run_forecast.forecast(run, ledger).stages
        planted_runs.carry(run, ledger)
    assert (explain.is_llm, explain.cost.calls, explain.cost.usd) == (False, 0, 0.0)
    assert score.cost.calls == len(server.books)
    assert score.cost.input_tokens + score.cost.output_tokens == pytest.approx(tokens(server.books), rel=0.1)


def test_a_dry_run_prints_the_forecast_and_makes_no_call(world: planted.World, tmp_path: Path) -> None:
    with ProviderServer(think_apart) as server:
        spec = tmp_path / "spec.toml"
        spec.write_text(
            world.spec(
                units=UNITS, score=SCORE, controls=CONTROLS, judge=planted_runs.judge(planted_runs.MODELS[0], server)
            ).to_toml()
        )
        ran = CliRunner().invoke(main, ["run", str(spec), "--dry-run", "--results", str(tmp_path / "results")])
        run, ledger = planted_runs.prepare(
            world,
            tmp_path / "results",
            units=UNITS,
            score=SCORE,
            controls=CONTROLS,
            judge=planted_runs.judge(planted_runs.MODELS[0], server),
        )
        explain, score = run_forecast.forecast(run, ledger).stages
    assert ran.exit_code == 0, ran.output
    assert server.books == []
    said = " ".join(ran.stdout.split())
    assert f"{explain.cost.calls} calls to {planted_runs.MODELS[0]}: {explain.cost.input_tokens:,} input" in said
    assert f"{score.cost.calls} calls to {planted_runs.MODELS[0]}: {score.cost.input_tokens:,} input" in said
    assert "in all" in said
    assert not (run.folder / "summary.json").exists()


def test_an_unknown_price_is_reported_as_unknown(world: planted.World, tmp_path: Path) -> None:
    with ProviderServer(think_apart) as server:
        judge = planted_runs.judge(planted_runs.MODELS[2], server)
        for key in planted_runs.PRICED:
            del judge[key]
        run, ledger = planted_runs.prepare(world, tmp_path, units=UNITS, score=SCORE, controls=CONTROLS, judge=judge)
        forecast = run_forecast.forecast(run, ledger)
        summary = planted_runs.carry(run, ledger)
    assert [stage.cost.usd for stage in forecast.stages] == [None, None]
    assert "cost unknown" in forecast.describe()
    assert "$" not in forecast.describe()
    assert summary["cost_usd"] is None
    assert summary["cost_unknown_calls"] == len(server.books)


def test_tokens_are_estimated_if_the_provider_cannot_count(world: planted.World, tmp_path: Path) -> None:
    with ProviderServer(think_apart) as server:
        judge = planted_runs.judge(planted_runs.MODELS[0], server)
        run, ledger = planted_runs.prepare(world, tmp_path, units=UNITS, score=SCORE, controls=CONTROLS, judge=judge)
    forecast = run_forecast.forecast(run, ledger)
    assert {stage.cost.counted_by for stage in forecast.stages} == {"estimated"}
    assert foreseen(forecast)[1] > 0


def test_no_provider_is_opened_for_the_embedded_judge(world: planted.World, tmp_path: Path) -> None:
    run, ledger = planted_runs.prepare(world, tmp_path, units=UNITS, score=SCORE)
    explain, score = run_forecast.forecast(run, ledger).stages
    judges = registry.Judges.open(run.spec, run.rubric)
    planted_runs.carry(run, ledger, judges)
    assert explain.cost.calls == len(run.units)
    assert score.cost.calls == len(planted_runs.tables(run.folder)["judgements"])
    assert not run_forecast.forecast(run, ledger).asks_llm
