"""The short form of `tests.system.chaos`, and the parts that it showed to be needed."""

from __future__ import annotations

import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.planted_world import runs as planted_runs
from support.services.fork_server import Clock, clock_library
from system import chaos

from autointerp.judges.rate_headers import retry_after
from autointerp.ledger import jobs, leases, runs, workers
from autointerp.ledger.jobs import Job
from autointerp.settings import Settings
from workers import context as context_
from workers import reconcile
from workers.context import Context
from workers.steady_beat import MonotonicInterval

RUN = "run-0"


@pytest.mark.slow
def test_each_fault_once_leaves_no_trace_in_the_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in planted_runs.KEYS:
        monkeypatch.setenv(name, planted_runs.KEY)
    monkeypatch.setattr(chaos, "EVERY_S", 1.5)
    found = chaos.break_service(
        tmp_path,
        seed=3,
        faults=30,
        judgements=140,
        models=planted_runs.MODELS[:1],
        units=8,
        events=len(chaos.WEIGHTS),
        say=print,
    )
    print(found.table())
    assert found.violations == []
    assert set(chaos.WEIGHTS) <= set(found.injected)


def test_beat_does_not_look_at_the_wall_clock() -> None:
    every, hour = MonotonicInterval(5.0), timedelta(hours=1)
    assert every.is_due(datetime.now(UTC) + hour).is_due
    for last in (datetime.now(UTC) + hour, datetime.now(UTC) - hour):
        state = every.is_due(last)
        assert not state.is_due
        assert 0 < state.next <= 5.0
    assert pickle.loads(pickle.dumps(every)).is_due(datetime.now(UTC)).is_due, "another process has another clock"


def test_a_pause_until_a_moment_is_measured_on_the_provider_s_clock() -> None:
    there = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
    headers = {"Date": "Sat, 21 Nov 2026 12:00:00 GMT", "Retry-After": "Sat, 21 Nov 2026 12:00:20 GMT"}
    for ahead in (-3600, 0, 3600):
        assert retry_after(headers, now=lambda ahead=ahead: there.timestamp() + ahead) == 20.0
    reset = {"Date": headers["Date"], "anthropic-ratelimit-requests-reset": "2026-11-21T12:00:01.5Z"}
    assert retry_after(reset, now=lambda: there.timestamp() + 0.4) == pytest.approx(1.1), (
        "a small difference is not the clock's"
    )


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.setattr(context_, "BEAT_S", 3600.0)
    monkeypatch.setattr(reconcile, "_seen", {})
    broker = "redis://127.0.0.1:1/0"  # never reached here
    found = Context(Settings(results=tmp_path, broker=broker), "judge")
    with found.ledger.write() as tx:
        runs.register(tx, run_id=RUN, name="run", spec_hash="", spec="", carrier="fleet")
        jobs.plan(tx, RUN, [Job(f"job-{n}", "score", place=n) for n in range(3)])
    yield found
    found.close()


def states(context: Context) -> dict[str, dict[str, int]]:
    with context.ledger.read() as tx:
        return jobs.counts(tx, RUN)


def test_a_worker_id_ends_with_its_last_task_and_its_leases_are_freed(context: Context) -> None:
    """A worker whose ledger failed goes on under a new name; calls in flight under the old one are not written off."""
    with context.lease_owner() as old:
        with context.ledger.write() as tx:
            leases.lease(tx, RUN, "score", most=2, owner=old)
        context._register()
        with context.lease_owner() as new:
            assert new != old
        assert context._beat()
        assert states(context) == {"score": {"leased": 2, "pending": 1}}, "a task still works under the old name"
    assert context._beat()
    assert states(context) == {"score": {"pending": 3}}
    with context.ledger.read() as tx:
        assert [row["worker_id"] for row in workers.live(tx)] == [context.worker_id]


def test_a_worker_that_could_not_look_marks_no_other_as_dead(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    with context.ledger.write() as tx:
        workers.register(tx, "other", queues="judge", version="1")
        leases.lease(tx, RUN, "score", most=1, owner="other")
    monkeypatch.setattr(context, "release_limiter_slots", lambda worker_id: None)

    def look(at: float, last: float) -> list[str]:
        monkeypatch.setattr(time, "monotonic", lambda: at)
        monkeypatch.setattr(reconcile, "_last", last)
        reconcile._mark_dead_workers(context)
        context._beat()
        with context.ledger.read() as tx:
            return sorted(row["worker_id"] for row in workers.live(tx) if row["worker_id"] == "other")

    dead = reconcile.DEAD_S
    assert look(1000.0, 999.0) == ["other"]
    assert look(1000.0 + 2 * dead, 1000.0) == ["other"], "the ledger was away, and beats with it"
    assert look(1000.0 + 2.9 * dead, 1000.0 + 2.8 * dead) == ["other"]
    assert look(1000.0 + 3.1 * dead, 1000.0 + 3.0 * dead) == []
    assert states(context) == {"score": {"pending": 3}}


SHOW = (
    "import ctypes, sys, time, datetime as d; ctypes.CDLL(sys.argv[1]).follow(sys.argv[2].encode()); time.sleep(0.01)"
)
SHOW += "; print(time.time(), d.datetime.now(d.UTC).timestamp(), time.monotonic())"


def test_a_jump_of_the_clock_moves_only_the_wall_clock(tmp_path: Path) -> None:
    """What the chaos rests on."""
    library = clock_library(tmp_path)
    if library is None:
        pytest.skip("no C compiler: clocks cannot be set")
    clock = Clock(tmp_path / "clock")
    clock.set(7200)
    command = [sys.executable, "-c", SHOW, str(library), str(clock.path)]
    wall, monotonic = time.time(), time.monotonic()
    said = subprocess.run(command, env={"LD_PRELOAD": str(library)}, capture_output=True, text=True, check=True).stdout
    by_time, by_datetime, steady = map(float, said.split())
    assert 7199 < by_time - wall < 7500
    assert 7199 < by_datetime - wall < 7500
    assert 0 < steady - monotonic < 300
