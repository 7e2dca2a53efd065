"""Runs that ask in provider batches: the same tables as call by call, at half the price, and no batch submitted twice."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa
from support.planted_world import runs as planted_runs
from support.planted_world import world as planted
from support.planted_world.provider_replies import think_apart
from support.providers.server import Faults, ProviderServer, Script
from support.services import run_process

from autointerp.calls import batch_state, batches
from autointerp.calls.breaker import FIRST_REPLIES
from autointerp.errors import BudgetExceeded, ProviderStopped, UsageError
from autointerp.judges.registry import open_batches
from autointerp.ledger import schema as tables_
from autointerp.ledger.database import Ledger
from autointerp.pipeline import local

pytestmark = pytest.mark.slow

MODELS = planted_runs.MODELS[:2]
FEW = {
    "units": {"feature_ids": list(range(6)), "neuron_ids": [f"{i}+" for i in range(6)]},
    "score": {"per_bin": 2},
    "controls": {"shuffled": 2, "base_rate": 2},
}
"""A run of 299 questions, 12 of which ask for explanations."""
FEWEST = FEW | {"units": {"feature_ids": [0, 1], "neuron_ids": ["0+", "1+"]}}
"""A third as many."""
Carried = Callable[..., tuple[dict[str, Any], Path, Ledger]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    return planted.make(tmp_path_factory.mktemp("world"))


@pytest.fixture
def carried(world: planted.World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Carried]:
    """Executes a small run in this process, without long waits between polls. Returns its summary, folder and ledger."""
    for name in planted_runs.KEYS:
        monkeypatch.setenv(name, planted_runs.KEY)
    for module, name, value in [
        (batch_state, "MIN_POLL_S", 0.05),
        (batch_state, "RETRY_S", 0.05),
        (batches, "WAIT_S", 0.1),
        (local, "BATCH_LOOK_S", 0.02),
        (local, "open_batches", partial(open_batches, settle_s=0.0)),
    ]:
        monkeypatch.setattr(module, name, value)
    ledgers: list[Ledger] = []

    def carry(
        model: str,
        server: ProviderServer,
        *,
        size: dict[str, dict[str, Any]] = FEWEST,
        folder: str = "results",
        budget: float | None = None,
        **judge: Any,
    ) -> tuple[dict[str, Any], Path, Ledger]:
        sections = size | {
            "judge": planted_runs.judge(model, server, **{"transport": "batch", **judge}),
            "budget": {"usd": budget},
        }
        run, ledger = planted_runs.prepare(world, tmp_path / folder, **sections)
        ledgers.append(ledger)
        return planted_runs.carry(run, ledger), run.folder, ledger

    yield carry
    for ledger in ledgers:
        ledger.close()


def assert_answered_once(server: ProviderServer) -> None:
    """No question was answered twice."""
    served = Counter(entry.body_hash for entry in server.books if entry.billed)
    assert set(served.values()) == {1}


def batch_states(ledger: Ledger) -> Counter[str]:
    with ledger.read() as tx:
        return Counter(tx.execute(sa.select(tables_.batches.c.state)).scalars())


@pytest.mark.parametrize("model", [MODELS[0], pytest.param(MODELS[1], marks=pytest.mark.slow)])
def test_batches_give_the_results_of_calls_at_half_the_price(model: str, carried: Carried) -> None:
    with ProviderServer(think_apart) as server:
        called, one_by_one, _ = carried(model, server, size=FEW, folder="calls", transport="calls")
    with ProviderServer(think_apart) as server:
        summary, folder, ledger = carried(model, server, size=FEW)
        assert_answered_once(server)
        assert len(server.batches) == 3, "explanations, the first scores, all others"
    expected, tables = planted_runs.tables(one_by_one), planted_runs.tables(folder)
    for name, table in expected.items():
        pd.testing.assert_frame_equal(tables[name], table)
    assert batch_states(ledger) == {"collected": 3}
    assert summary["calls"] == called["calls"]
    rates = planted_runs.price(model)
    tokens = summary["tokens"]
    price_of_calls = (tokens["input"] * rates.input + tokens["output"] * rates.output) / 1e6
    price_of_calls += (tokens["cache_write"] * rates.cache_write + tokens["cache_read"] * rates.cache_read) / 1e6
    assert summary["cost_usd"] == pytest.approx(price_of_calls / 2, rel=0.02)
    with ledger.read() as tx:
        reserved = tx.execute(sa.select(tables_.runs.c.reserved_usd)).scalar_one()
    assert reserved == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "fault",
    [
        "expired",
        "drop",
        "500_accepted",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("lost", "500", "429")),
    ],
)
def test_every_question_is_answered_once_after_a_failure_of_its_batch(model: str, fault: str, carried: Carried) -> None:
    with ProviderServer(think_apart, retry_after_s=0.05, batch_faults=Script(fault, None, fault)) as server:
        _, folder, ledger = carried(model, server)
        assert_answered_once(server)
        jobs = [
            custom_id.partition("-")[2]
            for batch in server.batches
            if batch.fault is None
            for custom_id in batch.custom_ids
        ]
    assert set(planted_runs.tables(folder)["judgements"]["outcome"]) == {"scored"}
    assert set(Counter(jobs).values()) == {1}, "an accepted batch was submitted again"
    assert batch_states(ledger)["collected"] >= 2


@pytest.mark.parametrize("model", MODELS)
def test_failed_items_are_asked_again_or_have_a_reason(model: str, carried: Carried) -> None:
    kinds = ("item_expired", "item_canceled", "500", "truncated", "refusal", "invalid_json", "content_policy")
    with ProviderServer(think_apart, Faults(0.3, seed=3, kinds=kinds), batch_delay_s=0.05) as server:
        _, folder, _ = carried(model, server)
    judgements = planted_runs.tables(folder)["judgements"]
    assert len(judgements) == judgements[["exemplar_id", "arm", "repeat"]].drop_duplicates().shape[0]
    outcomes = set(judgements["outcome"])
    assert {"scored", "truncated", "refusal"} <= outcomes
    assert not outcomes & {"provider_error", "gave_up"}, "a transient failure was not asked again"


def test_the_same_error_for_every_item_of_a_batch_stops_the_run(carried: Carried) -> None:
    with ProviderServer(think_apart, Faults(1.0, kinds=["400"])) as server:
        with pytest.raises(ProviderStopped, match="items of a batch failed with the same error"):
            carried(MODELS[0], server, size=FEW)
        server.faults = Faults()
        _, folder, _ = carried(MODELS[0], server, size=FEW)
    assert set(planted_runs.tables(folder)["judgements"]["outcome"]) == {"scored"}


@pytest.mark.parametrize(
    ("model", "fault", "said"),
    [(MODELS[0], "invalid_json", "JSON object"), (MODELS[1], "truncated", "raise judge.max_output_tokens")],
)
def test_a_run_whose_first_batch_is_unusable_stops_and_asks_all_again_once_the_cause_is_mended(
    model: str, fault: str, said: str, carried: Carried
) -> None:
    with ProviderServer(think_apart, _only_scores(fault)) as server:
        with pytest.raises(ProviderStopped, match=f"none of the first 24 replies to score questions.*{said}"):
            carried(model, server, size=FEW)
        assert sum(entry.billed for entry in server.books) == 12 + FIRST_REPLIES, "explanations and first scores"
        server.faults = Faults()
        _, folder, _ = carried(model, server, size=FEW)
    assert set(planted_runs.tables(folder)["judgements"]["outcome"]) == {"scored"}


def test_a_scorer_whose_first_batch_is_unusable_stops_the_run_though_the_rubrics_replies_are_usable(
    carried: Carried,
) -> None:
    size = FEW | {"score": {"per_bin": 2, "also": ["detection"]}}

    def answer(system: str, user: str, schema: dict[str, Any]) -> dict[str, Any]:
        properties = schema.get("properties", {})
        return {"no": "answer"} if "1" in properties else think_apart(system, user, schema)

    with ProviderServer(answer) as server:
        with pytest.raises(ProviderStopped, match="none of the first 24 replies to detection questions"):
            carried(MODELS[0], server, size=size)
        n_detections = sum('"1"' in str(body.get("output_config")) or "'1'" in str(body) for body in server.bodies)
    assert n_detections == FIRST_REPLIES


def _only_scores(fault: str) -> Callable[[int, str, int], str | None]:
    """The fault for every question after the twelve that ask for explanations."""
    return lambda number, body_hash, attempt: fault if number >= 12 else None


def test_a_budget_makes_batches_smaller_and_is_never_exceeded(carried: Carried) -> None:
    with ProviderServer(think_apart) as server:
        unlimited, _, _ = carried(MODELS[0], server, folder="unlimited")
    budget = unlimited["cost_usd"] * 0.6
    with ProviderServer(think_apart) as server:
        with pytest.raises(BudgetExceeded, match=r"budget\.usd"):
            carried(MODELS[0], server, budget=budget)
        spent = planted_runs.bill(MODELS[0], server.books) / 2
        assert 0 < spent <= budget
        summary, _, _ = carried(MODELS[0], server, budget=1.0)
        assert_answered_once(server)
    assert summary["cost_usd"] == pytest.approx(unlimited["cost_usd"], rel=0.1)


def test_providers_without_batches_are_refused(carried: Carried) -> None:
    with ProviderServer(think_apart) as server, pytest.raises(UsageError, match="has no batch API"):
        carried(planted_runs.MODELS[2], server)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_a_batch_is_collected_by_the_next_process_after_a_kill(
    model: str, world: planted.World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in planted_runs.KEYS:
        monkeypatch.setenv(name, planted_runs.KEY)
    with ProviderServer(think_apart, batch_delay_s=1.0) as server:
        sections = FEW | {"judge": planted_runs.judge(model, server, transport="batch")}
        spec = world.spec(**sections)
        _, ledger = planted_runs.prepare(world, tmp_path / "results", **sections)  # reuses the harvest of earlier tests
        ledger.close()
        (tmp_path / "spec.toml").write_text(spec.to_toml())
        command = ["run", str(tmp_path / "spec.toml"), "--results", str(tmp_path / "results"), "--quiet"]
        start = partial(
            run_process.start_command, command, planted_runs.environment(tmp_path / "cache"), tmp_path / "output.txt",
            {"calls.batch_state.MIN_POLL_S": 0.1, "calls.batch_state.RETRY_S": 0.1, "calls.batches.WAIT_S": 0.1},
        )  # fmt: skip
        for n_submitted in (1, 2):
            process = start()
            while process.is_alive() and len(server.batches) < n_submitted:
                time.sleep(0.002)
            process.kill()
            process.join()
        process = start()
        process.join(120)
        assert process.exitcode == 0, (tmp_path / "output.txt").read_text()
        assert len(server.batches) == 3
        assert_answered_once(server)
    [summary] = (tmp_path / "results").glob("*/summary.json")
    assert set(planted_runs.tables(summary.parent)["judgements"]["outcome"]) == {"scored"}
