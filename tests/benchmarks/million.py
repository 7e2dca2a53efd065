"""A run of a million jobs: queued, listed, told of to the workers, leased and finished, on SQLite and on PostgreSQL.

Run with `python tests/benchmarks/million.py [--jobs N] [--ledgers sqlite postgresql]`. The jobs are planned as scoring plans them, from
made-up units. Redis is looked at when a thousand of them are planned and again when all are: a pass of the reconciler fills its
queues, and what it then holds is the same, for a message names a run.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import sqlalchemy as sa
from support.services.servers import RedisServer, postgres_server, redis_server

from autointerp import run as run_
from autointerp.ledger import jobs, leases, runs
from autointerp.ledger.database import Ledger
from autointerp.monitoring import run_list, run_status
from autointerp.pipeline import stages
from autointerp.records import Exemplar, Unit
from autointerp.settings import Settings
from autointerp.spec import rubric
from autointerp.spec.spec import Spec, parse

REPEATS, PER_UNIT = 20, 50
FIRST = 1000
"""Jobs planned before the first look at Redis."""
SPEC: dict[str, Any] = {
    "name": "million",
    "subject": {"model": "nowhere"},
    "dictionary": {"path": "nowhere"},
    "corpus": {"sources": ["nowhere.jsonl"]},
    "score": {"repeats": REPEATS, "per_bin": PER_UNIT},
    "controls": {"shuffled": 0, "base_rate": 0, "random_dictionary": False, "random_subject": False},
}
WORK_S = 5.0
"""So long jobs are leased and finished."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--ledgers", nargs="+", choices=["sqlite", "postgresql"], default=["sqlite", "postgresql"])
    arguments = parser.parse_args()
    found: dict[str, Mapping[str, str]] = {}
    with tempfile.TemporaryDirectory(prefix="autointerp-million-") as name:
        for kind in arguments.ledgers:
            with ledger_url(kind, Path(name)) as url, redis_server() as redis:
                found[kind] = measure(url, redis, Path(name), arguments.jobs)
    print(f"{arguments.jobs:,} jobs, {os.cpu_count()} cores")
    print("| | " + " | ".join(found) + " |\n|" + " --- |" * (len(found) + 1))
    for line in next(iter(found.values())):
        print(f"| {line} | " + " | ".join(each[line] for each in found.values()) + " |")


@contextmanager
def ledger_url(kind: str, folder: Path) -> Iterator[str]:
    """An empty database."""
    if kind == "sqlite":
        yield f"sqlite:///{folder}/ledger.sqlite"
        return
    with postgres_server(config=["fsync=on", "shared_buffers=128MB"]) as server:
        yield server.url


def measure(url: str, redis: RedisServer, folder: Path, n: int) -> dict[str, str]:
    """Figures of one ledger, by name."""
    os.environ |= {"AUTOINTERP_LEDGER": url, "AUTOINTERP_BROKER": redis.url, "AUTOINTERP_RESULTS": str(folder)}
    ledger, spec = Ledger.open(url), parse(SPEC)
    with ledger.write() as tx:
        runs.register(tx, run_id="million", name="million", spec_hash="", spec=spec.to_toml(), carrier="fleet")
    empty = size(ledger)
    stages.plan_round(ledger, made_up(spec, FIRST, begin=n), 0)
    few = used_memory(redis)
    run = made_up(spec, n - FIRST)
    started = time.perf_counter()
    planned = FIRST + len(stages.plan_round(ledger, run, 0).jobs)
    took = time.perf_counter() - started
    found = {
        "queued, jobs/s": f"{(planned - FIRST) / took:,.0f}",
        "ledger, bytes a job": f"{(size(ledger) - empty) / planned:,.0f}",
        "`status`, s": seconds(lambda: list(run_list.list_progress(ledger, folder))),
        "`status RUN`, s": seconds(
            lambda: list(
                run_status.describe(run_status.status_values(run_status.read_progress(ledger, "million"), folder))
            )
        ),
        "reconciler's look at it, s": seconds(lambda: reconcile(ledger)),
        f"Redis with {FIRST:,} jobs, KiB": f"{few / 1024:,.0f}",
        f"Redis with {planned:,} jobs, KiB": f"{used_memory(redis) / 1024:,.0f}",
        "leased and finished, jobs/s": f"{work(ledger):,.0f}",
    }
    with ledger.read() as tx:
        counted = sum(sum(states.values()) for states in jobs.counts(tx, "million").values())
    assert counted == planned, (counted, planned)
    ledger.close()
    return found


def made_up(spec: Spec, n: int, begin: int = 0) -> run_.Run:
    """A run that plans `n` judgements, of units from number `begin` on."""
    numbers = range(begin, begin + -(-n // (REPEATS * PER_UNIT)))
    units = [Unit(f"feature-{i}", "feature", i, "", "resid_post.0", 1.0, 0.01, "alive") for i in numbers]
    exemplars = {unit.unit_id: [exemplar(unit.unit_id, i) for i in range(PER_UNIT)] for unit in units}
    by_id = {unit.unit_id: unit for unit in units}
    nowhere = Path()
    return run_.Run("million", spec, rubric.load(spec.score.rubric), nowhere, nowhere, {}, by_id, exemplars)


def exemplar(unit_id: str, number: int) -> Exemplar:
    name = f"{unit_id}/{number}"
    return Exemplar(name, unit_id, "score", number, 0, 1.0, 1.0, 1, 1.0, 0, ("word",), (1.0,))


def size(ledger: Ledger) -> int:
    """Bytes of the ledger on disk, the write-ahead log left out."""
    with ledger.read() as tx:
        if ledger.engine.dialect.name == "postgresql":
            return int(tx.execute(sa.text("SELECT pg_total_relation_size('jobs')")).scalar_one())
        pages = tx.execute(sa.text("PRAGMA page_count")).scalar_one()
        return int(pages * tx.execute(sa.text("PRAGMA page_size")).scalar_one())


def seconds(work: Callable[[], Any]) -> str:
    """The first time, and the median of five more."""
    took = []
    for _ in range(6):
        started = time.perf_counter()
        work()
        took.append(time.perf_counter() - started)
    return f"{took[0]:.3f}, then {statistics.median(took[1:]):.3f}"


def reconcile(ledger: Ledger) -> None:
    """What the reconciler asks of a run's jobs at each pass."""
    with ledger.write() as tx:
        jobs.exhausted(tx, "million")
        stages.advance(tx, "million")


def used_memory(redis: RedisServer) -> int:
    """Bytes that Redis holds more than empty once the reconciler has filled its queues."""
    from workers.app import make_app
    from workers.context import Context
    from workers.reconcile import hint

    settings = Settings.from_env()
    with redis.client() as client, make_app(settings) as app:
        client.flushall()
        before = client.info("memory")["used_memory_dataset"]
        context = Context(settings, "")
        for _ in range(3):
            hint(context, ["million"], lambda task, key: app.send_task(f"autointerp.{task}", [key]))
        context.close()
        return int(client.info("memory")["used_memory_dataset"] - before)


def work(ledger: Ledger) -> float:
    """Jobs a second that one process leases, 16 at a time, and finishes one by one."""
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < WORK_S:
        with ledger.write() as tx:
            leased = leases.lease(tx, "million", "score", most=16, owner="somebody")
        for job in leased:
            with ledger.write() as tx:
                jobs.finish(tx, "million", job.job_key)
        done += len(leased)
    return done / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
