"""Metrics read from a real ledger, SQLite and PostgreSQL, and a real Redis."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from support.locations import ROOT
from support.services.servers import PostgresServer, RedisServer

from autointerp.judges.limits.admission_window import Ceilings
from autointerp.judges.limits.redis_limiter import SharedLimiter
from autointerp.ledger import schema
from autointerp.ledger.database import Ledger
from autointerp.settings import Settings
from workers import broker
from workers.prometheus import ServiceCollector

Samples = dict[tuple[str, ...], float]


def scrape(settings: Settings) -> Samples:
    registry = CollectorRegistry()
    collector = ServiceCollector(settings)
    registry.register(collector)
    text = generate_latest(registry).decode()
    if collector._ledger is not None:
        collector._ledger.close()
    return parse(text)


def parse(text: str) -> Samples:
    return {
        (sample.name.removeprefix("autointerp_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    else:
        server: PostgresServer = request.getfixturevalue("postgres_service")
        yield server.ledger()


def run_row(run_id: str, state: str, **more: Any) -> dict[str, Any]:
    row = {"run_id": run_id, "name": run_id, "spec_hash": "0", "spec": "", "state": state}
    return row | {"created_at": time.time() - 500, "updated_at": time.time()} | more


def call_row(state: str, *, ago: float, took: float = 0.5, judge: str = "judge-1", **more: Any) -> dict[str, Any]:
    row = {"call_key": os.urandom(8).hex(), "run_id": "live", "job_key": "j", "judge": judge, "state": state}
    row |= {"system_hash": "s", "user": "u", "started_at": time.time() - ago, "duration_s": took}
    return row | {"input_tokens": 0, "output_tokens": 0, "cost_usd": None} | more


def fill(ledger: Ledger) -> None:
    with ledger.write() as tx:

        def add(table: sa.Table, rows: list[dict[str, Any]]) -> None:
            for row in rows:
                tx.execute(sa.insert(table).values(row))

        add(
            schema.runs,
            [
                run_row(
                    "live", "running", spent_usd=1.5, reserved_usd=0.25, stage_s=f'{{"@score": {time.time() - 100}}}'
                ),
                run_row("late", "queued"),
                run_row("halted", "stopped", lost_usd=0.125),
                run_row("old", "done", spent_usd=2.0),
            ],
        )
        jobs = [("live", "score", "pending"), ("live", "score", "pending"), ("live", "score", "done")]
        jobs += [("late", "prepare", "pending"), ("halted", "explain", "waiting"), ("old", "score", "done")]
        rows = [{"run_id": r, "stage": stage, "state": state} for r, stage, state in jobs]
        add(schema.jobs, [row | {"job_key": str(n), "place": n, "unit_id": "u"} for n, row in enumerate(rows)])
        add(schema.texts, [{"text_hash": "s", "text": "rubric"}])
        used = {"input_tokens": 100, "output_tokens": 10, "cost_usd": 0.01}
        add(schema.calls, [call_row("scored", ago=30, **used), call_row("scored", ago=90, took=60.0, **used)])
        add(schema.calls, [call_row("scored", ago=200, **used), call_row("refusal", ago=20), call_row("error", ago=20)])
        add(schema.calls, [call_row("open", ago=10, took=0.0), call_row("lost", ago=10)])
        add(schema.calls, [call_row("refusal", ago=3600), call_row("scored", ago=5, judge="other", input_tokens=7)])
        worker = {"host": "h", "pid": 1, "started_at": 0.0, "beat_at": 0.0}
        lives = [("a", "judge", "live"), ("b", "aggregate,control", "live"), ("c", "judge", "gone")]
        add(schema.workers, [worker | {"worker_id": w, "queues": q, "state": s} for w, q, s in lives])
        add(
            schema.budgets, [{"scope": "month 2026-10", "spent_usd": 9.0}, {"scope": "month 2026-11", "spent_usd": 3.0}]
        )
        add(schema.nights, [{"date": "2026-11-20", "state": "done", "started_at": 1.0, "ended_at": 7.0}])


def test_metrics_of_the_ledger(ledger_url: str, redis_service: RedisServer) -> None:
    ledger = Ledger.open(ledger_url)
    fill(ledger)
    ledger.close()
    got = scrape(Settings(ledger=ledger_url, broker=redis_service.url))  # type: ignore[arg-type]
    assert got["up", "ledger"] == got["up", "redis"] == 1
    assert {k[1:]: v for k, v in got.items() if k[0] == "jobs"} == {
        ("score", "pending"): 2,
        ("score", "done"): 1,
        ("prepare", "pending"): 1,
        ("explain", "waiting"): 1,
    }
    assert 100 <= got["oldest_pending_seconds", "score"] < 400
    assert got["oldest_pending_seconds", "prepare"] >= 500
    assert ("oldest_pending_seconds", "explain") not in got
    assert {k[1]: v for k, v in got.items() if k[0] == "runs"} == {"running": 1, "queued": 1, "stopped": 1, "done": 1}
    assert got["spent_usd_total",] == 3.5
    assert (got["held_usd", "reserved"], got["held_usd", "lost"]) == (0.25, 0.125)
    assert {k[1:]: v for k, v in got.items() if k[0] == "calls"} == {
        ("judge-1", "scored"): 3,
        ("judge-1", "refusal"): 1,
        ("judge-1", "error"): 1,
        ("judge-1", "open"): 1,
        ("judge-1", "lost"): 1,
        ("other", "scored"): 1,
    }
    assert got["tokens_per_minute", "judge-1", "input"] == 200
    assert got["tokens_per_minute", "judge-1", "output"] == 20
    assert got["tokens_per_minute", "other", "input"] == 7
    assert got["usd_per_minute", "judge-1"] == pytest.approx(0.02)
    assert got["unscored_share", "judge-1"] == pytest.approx(1 / 4)
    assert got["unscored_share", "other"] == 0
    assert {k[1]: v for k, v in got.items() if k[0] == "workers"} == {
        "activations": 0,
        "judge": 1,
        "aggregate": 1,
        "control": 1,
    }
    assert {k[1]: v for k, v in got.items() if k[0] == "budget_used_usd"} == {"month 2026-11": 3.0}
    assert got["night_ended_timestamp_seconds",] == 7.0


def test_metrics_of_queues_and_limiters(redis_service: RedisServer, tmp_path: Path) -> None:
    settings = Settings(results=tmp_path, broker=redis_service.url)  # type: ignore[arg-type]
    with broker.connect(settings) as client:
        client.lpush("judge", "a", "b", "c")
        client.hset("unacked", "tag", "message")
        limiter = SharedLimiter(client, "anthropic/m/0", Ceilings(concurrency=8), "worker-1", list)
        limiter.acquire(100, 10)
        got = scrape(settings)
        limiter.abort()
    assert {k[1]: v for k, v in got.items() if k[0] == "queue_length"} == {
        "activations": 0,
        "judge": 3,
        "aggregate": 0,
        "control": 0,
    }
    assert got["unacked_messages",] == 1
    assert got["limiter_slots", "anthropic/m/0", "taken"] == 1
    assert got["limiter_slots", "anthropic/m/0", "allowed"] >= 1
    assert got["limiter_window", "anthropic/m/0", "requests"] == 1
    assert got["limiter_window", "anthropic/m/0", "input_tokens"] == 100
    assert got["limiter_pause_seconds", "anthropic/m/0"] == 0


def test_an_unreachable_server_is_reported_and_the_others_are_read(redis_service: RedisServer, tmp_path: Path) -> None:
    settings = Settings(results=tmp_path, broker=redis_service.url)  # type: ignore[arg-type]
    registry, collector = CollectorRegistry(), ServiceCollector(settings)
    registry.register(collector)
    redis_service.stop()
    got = parse(generate_latest(registry).decode())
    assert (got["up", "ledger"], got["up", "redis"]) == (1, 0)
    assert ("workers", "judge") in got
    redis_service.start()
    assert parse(generate_latest(registry).decode())["up", "redis"] == 1
    assert collector._ledger is not None
    collector._ledger.close()
    gone = "postgresql+psycopg://u:p@127.0.0.1:1/d"
    got = scrape(Settings(ledger=gone, broker=redis_service.url))  # type: ignore[arg-type]
    assert (got["up", "ledger"], got["up", "redis"]) == (0, 1)
    assert ("queue_length", "judge") in got


def test_the_metrics_server_answers(redis_service: RedisServer, tmp_path: Path) -> None:
    env = os.environ | {"AUTOINTERP_BROKER": redis_service.url, "AUTOINTERP_RESULTS": str(tmp_path)}
    command = [sys.executable, "-m", "workers.prometheus", "--port", "0"]
    with subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        try:
            with urllib.request.urlopen(url) as answer:
                assert parse(answer.read().decode())["up", "redis"] == 1
        finally:
            process.terminate()


def test_metrics_without_a_broker_say_so() -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("AUTOINTERP_")}
    command = [sys.executable, "-m", "workers.prometheus"]
    ended = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr.startswith("autointerp: AUTOINTERP_BROKER is not set")
    assert ended.stderr.count("\n") == 1
