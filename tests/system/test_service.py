"""The service: runs go through Redis, PostgreSQL and what Celery's command lines start, and end as in one process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa
from support.planted_world import runs as planted_runs
from support.planted_world import world as planted
from support.planted_world.provider_replies import think_apart
from support.providers.server import ProviderServer
from support.services import fleet as fleet_
from support.services.compose_file import commands_of
from support.services.fleet import Fleet

from autointerp.ledger import calls, events, workers
from autointerp.ledger.schema import calls as call_rows
from autointerp.ledger.schema import jobs as job_rows
from autointerp.pipeline.submit import submit

FEW: dict[str, Any] = {
    "units": {"feature_ids": list(range(8)), "neuron_ids": [f"{i}+" for i in range(8)]},
    "score": {"per_bin": 1},
    "controls": {"shuffled": 2, "base_rate": 2},
    "harvest": {"window_tokens": 16, "batch_tokens": 256, "shard_tokens": 8192},
}
VARYING = ("command", "created_at", "finished_at", "wall_s", "stage_s")
"""What a summary says of when and how its run was carried."""
FILLED = {"REDIS_PASSWORD": "one", "POSTGRES_PASSWORD": "two", "FLOWER_BASIC_AUTH": "three:four"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    return planted.make(tmp_path_factory.mktemp("world"))


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in planted_runs.KEYS:
        monkeypatch.setenv(name, planted_runs.KEY)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Fleet]:
    with fleet_.running(tmp_path / "fleet", forked=True) as fleet:
        yield fleet


def test_a_batch_of_runs_ends_with_the_tables_of_one_process(world: planted.World, tmp_path: Path) -> None:
    """The arguments of docker-compose.yml (`test_compose_service` has its very commands), two harvesting workers, and runs of several judges over one harvest in shards."""
    with ProviderServer(think_apart) as server, fleet_.running(tmp_path / "fleet", forked=True) as fleet:
        start_as_composed(fleet)
        judges = [planted_runs.judge(planted_runs.MODELS[0], server), {"model": "embedded"}]
        specs = [FEW | {"judge": judge} for judge in judges]
        ids = [submit(fleet.ledger, world.spec(**spec), fleet.results).run_id for spec in specs]
        again = submit(fleet.ledger, world.spec(**specs[0]), fleet.results)
        assert (again.run_id, again.was) == (ids[0], "queued")
        states = fleet.wait(ids, patience_s=120)
        alone = server.books[:]
        for run_id, spec in zip(ids, specs, strict=True):
            run, ledger = planted_runs.prepare(world, tmp_path / "one", **spec)
            summary = planted_runs.carry(run, ledger)
            ledger.close()
            assert run.run_id == run_id
            assert states[run_id] == ("withheld" if "withheld" in summary["headline"] else "done")
            same_outcome(fleet.results / run_id, run.folder)
        assert {entry.body_hash for entry in alone} == {entry.body_hash for entry in server.books[len(alone) :]}
        assert len({entry.body_hash for entry in alone}) == len(alone)
        with fleet.ledger.read() as tx:
            said = Counter(event["text"] for run_id in ids for event in events.of_run(tx, run_id))
        assert len(list(fleet.results.glob("artifacts/harvest-*"))) == 1
        [(begun, times)] = [(text, n) for text, n in said.items() if text.startswith("harvest begun")]
        assert times == 1
        assert int(begun.split()[3]) >= 4
        assert said["harvest found"] == len(ids) - 1


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


def same_outcome(found: Path, expected: Path) -> None:
    for name, table in planted_runs.tables(expected).items():
        pd.testing.assert_frame_equal(planted_runs.tables(found)[name], table)
    summaries = [planted_runs.summary(folder) for folder in (found, expected)]
    for summary in summaries:
        for name in VARYING:
            del summary[name]
        summary["tokens"] = sum(summary["tokens"].values())
        summary.pop("cost_usd"), summary.pop("cost_usd_at_batch_prices", None)
    # Measured with as many threads as a process has, which moves last digits.
    measured = [[summary.pop(name) for name in ("check", "studies")] for summary in summaries]
    found_, expected_ = (flat(of_run) for of_run in measured)
    assert found_.keys() == expected_.keys()
    for at, value in expected_.items():
        is_number = isinstance(value, float)
        assert found_[at] == (pytest.approx(value, rel=1e-5, abs=1e-6) if is_number else value), at
    assert summaries[0] == summaries[1]


def flat(value: Any, at: str = "") -> dict[str, Any]:
    """A nested value's leaves by their place."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if inside is None:
        return {at: value}
    return {place: leaf for key, part in inside for place, leaf in flat(part, f"{at}/{key}").items()}


@pytest.mark.parametrize(
    "pool", [("--pool", "threads", "-c", "6"), ("--pool", "prefork", "-c", "3")], ids=["threads", "prefork"]
)
def test_a_worker_asked_to_stop_ends_after_the_calls_in_flight(
    service: Fleet, world: planted.World, pool: Sequence[str]
) -> None:
    """What it held is free at once, and nothing is asked twice."""
    with ProviderServer(think_apart, delay_s=0.2) as server:
        service.start("activations", *fleet_.ACTIVATIONS)
        service.start("aggregate", *fleet_.AGGREGATE)
        service.start("beat", *fleet_.BEAT)
        service.start("judge", "worker", "-Q", "judge", *pool)
        spec = FEW | {"judge": planted_runs.judge(planted_runs.MODELS[0], server, concurrency=4)}
        run_id = submit(service.ledger, world.spec(**spec), service.results).run_id
        service.wait([run_id], until=lambda counts: counts[run_id].get("score", {}).get("done", 0) > 10)
        assert service.stop("judge") == 0
        with service.ledger.read() as tx:
            living = {row["queues"] for row in workers.live(tx)}
            held = tx.execute(
                sa.select(sa.func.count()).where(job_rows.c.lease_owner != "", job_rows.c.stage == "score")
            )
            open_calls = tx.execute(sa.select(sa.func.count()).where(call_rows.c.state == calls.OPEN)).scalar_one()
            assert (held.scalar_one(), open_calls) == (0, 0)
        assert living == {"activations", "aggregate,control"}
        _, counts = service.look([run_id])
        assert counts[run_id]["score"]["pending"] > 0, "it did not work on to the end of its task"
        server.delay_s = 0.0
        service.start("judge", "worker", "-Q", "judge", *pool)
        assert service.wait([run_id])[run_id] in ("done", "withheld")
    assert len({entry.body_hash for entry in server.books}) == len(server.books)
