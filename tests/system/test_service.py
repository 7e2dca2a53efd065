"""The service: runs executed by workers, over Redis and PostgreSQL, end as in one process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa
from support.planted_world import runs as planted_runs
from support.planted_world import world as planted
from support.planted_world.provider_replies import think_apart
from support.providers.protocols import Json
from support.providers.server import ProviderServer
from support.services import fleet as fleet_
from support.services.compose_file import commands_of
from support.services.fleet import QUICK_APP, Fleet
from support.services.servers import PostgresServer

from autointerp.ledger import calls, events, jobs, runs, workers
from autointerp.ledger.schema import calls as call_rows
from autointerp.ledger.schema import jobs as job_rows
from autointerp.pipeline.submit import submit

pytestmark = pytest.mark.slow
FEW: dict[str, Any] = {
    "units": {"feature_ids": list(range(6)), "neuron_ids": [f"{i}+" for i in range(6)]},
    "score": {"per_bin": 1},
    "controls": {"shuffled": 2, "base_rate": 2},
    "harvest": {"window_tokens": 16, "batch_tokens": 256, "shard_tokens": 8192},
}
VARYING = ("command", "created_at", "finished_at", "wall_s", "stage_s")
"""Keys of a summary that say when and how its run was executed."""
FILLED = {"REDIS_PASSWORD": "one", "POSTGRES_PASSWORD": "two", "FLOWER_BASIC_AUTH": "three:four"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    return planted.make(tmp_path_factory.mktemp("world"), documents=280)


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in planted_runs.KEYS:
        monkeypatch.setenv(name, planted_runs.KEY)


def test_several_runs_end_with_the_tables_of_one_process(
    world: planted.World, tmp_path: Path, postgres_service: PostgresServer
) -> None:
    """Workers with the arguments of docker-compose.yml, two of them harvesting; runs with two judges over one sharded harvest.

    `test_compose_service` starts the very commands.
    """
    with (
        ProviderServer(think_apart) as server,
        fleet_.running(tmp_path / "fleet", postgres_service, forked=True) as fleet,
    ):
        start_as_composed(fleet)
        judges = [planted_runs.judge(planted_runs.MODELS[0], server), {"model": "embedded"}]
        specs = [FEW | {"judge": judge} for judge in judges]
        ids = [submit(fleet.ledger, world.spec(**spec), fleet.results).run_id for spec in specs]
        again = submit(fleet.ledger, world.spec(**specs[0]), fleet.results)
        assert (again.run_id, again.was) == (ids[0], "queued")
        states = fleet.wait(ids, patience_s=120)
        of_workers = server.books[:]
        for run_id, spec in zip(ids, specs, strict=True):
            run, ledger = planted_runs.prepare(world, tmp_path / "one", **spec)
            summary = planted_runs.carry(run, ledger)
            ledger.close()
            assert run.run_id == run_id
            assert states[run_id] == ("withheld" if "withheld" in summary["headline"] else "done")
            same_outcome(fleet.results / run_id, run.folder)
        assert {entry.body_hash for entry in of_workers} == {
            entry.body_hash for entry in server.books[len(of_workers) :]
        }
        assert len({entry.body_hash for entry in of_workers}) == len(of_workers)
        with fleet.ledger.read() as tx:
            texts = Counter(event["text"] for run_id in ids for event in events.of_run(tx, run_id))
        assert len(list(fleet.results.glob("artifacts/harvest-*"))) == 1
        [(started, times)] = [(text, n) for text, n in texts.items() if text.startswith("harvest started")]
        assert times == 1
        assert int(started.split()[2]) >= 4
        assert texts["existing harvest used"] == len(ids) - 1


def test_workers_carry_out_the_studies_of_a_spec_under_its_budget(
    world: planted.World, tmp_path: Path, postgres_service: PostgresServer
) -> None:
    text = "filler1 harbour2 filler3"
    studies = {
        "tokens": 0,
        "find": [{"text": text, "at": "a passage that it has not"}, {"text": text}],
        "steer": {"units": ["0"], "prompts": [text], "factors": [2], "tokens": 2, "judged": True},
    }

    def think(system: str, user: str, schema: Json) -> Any:
        if "on_target" in schema["properties"]:
            return {"reason": "read", "on_target": 1, "coherence": 2}
        return think_apart(system, user, schema)

    with ProviderServer(think) as server, fleet_.running(tmp_path / "fleet", postgres_service, forked=True) as fleet:
        fleet.start_all()
        spec = world.spec(
            **FEW, judge=planted_runs.judge(planted_runs.MODELS[0], server), budget={"usd": 5.0}, studies=studies
        )
        run_id = submit(fleet.ledger, spec, fleet.results).run_id
        assert fleet.wait([run_id], patience_s=120)[run_id] in ("done", "withheld")
        with fleet.ledger.read() as tx:
            row, counts = runs.get(tx, run_id), jobs.counts(tx, run_id)
            paid = tx.execute(
                sa.select(sa.func.sum(call_rows.c.cost_usd)).where(call_rows.c.job_key.like("steer-%"))
            ).scalar()
        assert counts["studies"] == {"done": 2, "failed": 1}
        assert row is not None
        assert row["exit_code"] == 1
        assert "studies.find: " in row["reason"]
        assert paid > 0
        assert row["spent_usd"] > paid
        again = submit(fleet.ledger, spec, fleet.results)
        assert (again.run_id, again.was) == (run_id, "resumed"), "the failed study is tried again"
    kinds = sorted(path.parent.name.split("-")[0] for path in fleet.results.glob("*/studies/*/study.json"))
    assert kinds == ["find", "steer"]
    [graded] = fleet.results.glob("*/studies/steer-*/continuations.parquet")
    assert set(pd.read_parquet(graded)["on_target"]) == {1}


def start_as_composed(fleet: Fleet) -> None:
    """The workers and beat of docker-compose.yml, with a second worker that harvests."""
    commands = commands_of(FILLED)
    for name in ("cpu-worker", "judge-worker", "aggregate-worker"):
        words = commands[name].words
        assert words[:3] == ["celery", "-A", fleet.app]
        fleet.start(name, *words[3 : words.index("-n")])
    fleet.start("second-worker", *fleet.members["cpu-worker"].arguments[:-2])
    fleet.start("beat", "beat")
    assert commands["beat"].words[3] == "beat"


def same_outcome(actual: Path, expected: Path) -> None:
    """Assert that two runs have equal tables and summaries."""
    for name, table in planted_runs.tables(expected).items():
        pd.testing.assert_frame_equal(planted_runs.tables(actual)[name], table)
    summaries = [planted_runs.summary(folder) for folder in (actual, expected)]
    for summary in summaries:
        for name in VARYING:
            del summary[name]
        summary["tokens"] = sum(summary["tokens"].values())
        summary.pop("cost_usd"), summary.pop("cost_usd_at_batch_prices", None)
    # These are computed with as many threads as the process has, so their last digits differ.
    measured = [[summary.pop(name) for name in ("check", "studies")] for summary in summaries]
    actual_, expected_ = (flat(of_run) for of_run in measured)
    assert actual_.keys() == expected_.keys()
    for at, value in expected_.items():
        is_number = isinstance(value, float)
        assert actual_[at] == (pytest.approx(value, rel=1e-5, abs=1e-6) if is_number else value), at
    assert summaries[0] == summaries[1]


def flat(value: Any, at: str = "") -> dict[str, Any]:
    """The leaves of a nested value by path."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if inside is None:
        return {at: value}
    return {place: leaf for key, part in inside for place, leaf in flat(part, f"{at}/{key}").items()}


@pytest.mark.parametrize(
    "pool", [("--pool", "threads", "-c", "6"), ("--pool", "prefork", "-c", "3")], ids=["threads", "prefork"]
)
def test_a_stopped_worker_ends_after_its_calls_in_flight(
    world: planted.World, tmp_path: Path, postgres_service: PostgresServer, pool: Sequence[str]
) -> None:
    """Its leases are free at once, and nothing is asked twice."""
    with (
        ProviderServer(think_apart, delay_s=0.2) as server,
        fleet_.running(tmp_path / "fleet", postgres_service, app=QUICK_APP, forked=True) as service,
    ):
        service.start("activations", *fleet_.ACTIVATIONS)
        service.start("aggregate", *fleet_.AGGREGATE)
        service.start("beat", *fleet_.BEAT)
        service.start("judge", "worker", "-Q", "judge", *pool)
        judge = planted_runs.judge(planted_runs.MODELS[0], server, concurrency=4)
        units = {"feature_ids": [0, 1, 2], "neuron_ids": ["0+", "1+", "2+"]}
        spec = FEW | {"judge": judge, "units": units, "studies": {"tokens": 0}, "report": {"resamples": 200}}
        run_id = submit(service.ledger, world.spec(**spec), service.results).run_id
        service.wait([run_id], until=lambda counts: counts[run_id].get("score", {}).get("done", 0) > 10)
        assert service.stop("judge") == 0
        with service.ledger.read() as tx:
            live = {row["queues"] for row in workers.live(tx)}
            held = tx.execute(
                sa.select(sa.func.count()).where(job_rows.c.lease_owner != "", job_rows.c.stage == "score")
            )
            open_calls = tx.execute(sa.select(sa.func.count()).where(call_rows.c.state == calls.OPEN)).scalar_one()
            assert (held.scalar_one(), open_calls) == (0, 0)
        assert live == {"activations", "aggregate,control"}
        _, counts = service.look([run_id])
        assert counts[run_id]["score"]["pending"] > 0, "it continued to the end of its task"
        server.delay_s = 0.0
        service.start("judge", "worker", "-Q", "judge", *pool)
        assert service.wait([run_id])[run_id] in ("done", "withheld")
    assert len({entry.body_hash for entry in server.books}) == len(server.books)
