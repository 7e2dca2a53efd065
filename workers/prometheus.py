"""Prometheus metrics, read from the ledger and Redis at each scrape, so that no restart loses or repeats a count.

Only unfinished runs and the calls of the last ten minutes are read, so a scrape takes well under a second next to a million
jobs. If the ledger or Redis does not answer, `autointerp_up` is 0 for it and the metrics of the other are still there.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import click
import redis
import sqlalchemy as sa
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Connection

from autointerp.errors import AutointerpError
from autointerp.ledger import runs
from autointerp.ledger.database import Ledger
from autointerp.ledger.schema import batches, budgets, calls, jobs, nights, workers
from autointerp.ledger.schema import runs as runs_table
from autointerp.settings import Settings
from workers import broker, logs

QUEUES = ("activations", "judge", "aggregate", "control")
WINDOW_S = 600.0
"""How far back calls are read."""
UNFINISHED = (*runs.LIVE, "stopped")
"""States of runs that may continue."""
REDIS_S = 2.0


class ServiceCollector(Collector):
    """All metrics of the service. `autointerp_up{of="ledger|redis"}` is 1 if that part answers, else 0."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ledger: Ledger | None = None

    def describe(self) -> Iterable[Metric]:
        """No fixed list: which metrics exist depends on which parts answer."""
        return ()

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("autointerp_up", "Whether a part of the service answers.", labels=["of"])
        parts: list[tuple[str, Callable[[], list[Metric]]]] = [("ledger", self._of_ledger), ("redis", self._of_redis)]
        for name, read in parts:
            try:
                metrics = read()
            except (AutointerpError, sa.exc.SQLAlchemyError, redis.RedisError):
                metrics = []
            up.add_metric([name], float(bool(metrics)))
            yield from metrics
        yield up

    def _of_ledger(self) -> list[Metric]:
        if self._ledger is None:
            self._ledger = Ledger.in_folder(self._settings.results, self._settings.given_ledger)
        with self._ledger.read() as tx:
            return [*_of_jobs(tx), *_of_runs(tx), *_of_calls(tx), *_of_workers_and_budgets(tx)]

    def _of_redis(self) -> list[Metric]:
        with broker.connect(self._settings, timeout_s=REDIS_S) as client:
            return [*_of_queues(client), *_of_limiters(client)]


def gauge(name: str, description: str, labels: list[str], values: Mapping[Any, float]) -> Metric:
    """A gauge with one sample per key of `values`, a tuple of label values."""
    family = GaugeMetricFamily(f"autointerp_{name}", description, labels=labels)
    for key, value in values.items():
        family.add_metric(list(key), value)
    return family


def _of_jobs(tx: Connection) -> list[Metric]:
    """Jobs of unfinished runs by stage and state, and the age of the oldest stage with pending jobs."""
    unfinished = {
        row["run_id"]: row
        for row in tx.execute(sa.select(runs_table).where(runs_table.c.state.in_(UNFINISHED))).mappings()
    }
    columns = (jobs.c.run_id, jobs.c.stage, jobs.c.state)
    mine = jobs.c.run_id.in_(sa.select(runs_table.c.run_id).where(runs_table.c.state.in_(UNFINISHED)))
    counts: Counter[tuple[str, ...]] = Counter()
    oldest: dict[tuple[str, ...], float] = {}
    now = time.time()
    for run_id, stage, state, n in tx.execute(sa.select(*columns, sa.func.count()).where(mine).group_by(*columns)):
        counts[stage, state] += n
        row = unfinished.get(run_id)
        if state == "pending" and row is not None and row["state"] in runs.LIVE:
            begun = runs.stage_begun(row, stage)
            planned_at = row["created_at"] if begun is None else begun
            oldest[stage,] = max(oldest.get((stage,), 0.0), now - planned_at)
    return [
        gauge("jobs", "Jobs of runs that are not finished.", ["stage", "state"], dict(counts)),
        gauge(
            "oldest_pending_seconds",
            "Seconds since the oldest stage with pending jobs was planned.",
            ["stage"],
            oldest,
        ),
    ]


def _of_runs(tx: Connection) -> list[Metric]:
    table = runs_table
    states = tx.execute(sa.select(table.c.state, sa.func.count()).group_by(table.c.state))
    money = tx.execute(
        sa.select(sa.func.sum(table.c.spent_usd), sa.func.sum(table.c.reserved_usd), sa.func.sum(table.c.lost_usd))
    ).one()
    spent = CounterMetricFamily("autointerp_spent_usd", "Dollars spent by all runs.")
    spent.add_metric([], money[0] or 0.0)
    held = {("reserved",): money[1] or 0.0, ("lost",): money[2] or 0.0}
    return [
        gauge("runs", "Runs by state; `stopped` by a provider or a budget.", ["state"], {(s,): n for s, n in states}),
        spent,
        gauge(
            "held_usd",
            "Upper bounds of the cost of calls in flight, and of calls whose outcome is unknown.",
            ["as"],
            held,
        ),
    ]


def _of_calls(tx: Connection) -> list[Metric]:
    """Outcomes of calls started in the window, and tokens and dollars of those that ended in the last minute."""
    now = time.time()
    recent = calls.c.started_at > now - WINDOW_S
    sent = calls.c.input_tokens + calls.c.cache_write_tokens + calls.c.cache_read_tokens
    ended = sa.case((calls.c.started_at + calls.c.duration_s > now - 60.0, 1), else_=0)
    sums = [
        sa.func.sum(ended * value) for value in (1, sent, calls.c.output_tokens, sa.func.coalesce(calls.c.cost_usd, 0))
    ]
    by = (calls.c.judge, calls.c.state)
    window: dict[tuple[str, ...], float] = {}
    minute: dict[str, dict[tuple[str, ...], float]] = defaultdict(lambda: defaultdict(float))
    for judge, state, n, done, read, written, usd in tx.execute(
        sa.select(*by, sa.func.count(), *sums).where(recent).group_by(*by)
    ):
        window[judge, state] = n
        if state != "open":
            minute["calls"][judge,] += done or 0
            minute["tokens"][judge, "input"] += read or 0
            minute["tokens"][judge, "output"] += written or 0
            minute["usd"][judge,] += usd or 0.0
    states = ["judge", "state"]
    return [
        gauge("calls", "Calls started in the last 10 minutes, by state.", states, window),
        gauge("calls_per_minute", "Calls that ended in the last minute.", ["judge"], minute["calls"]),
        gauge(
            "tokens_per_minute", "Tokens of calls that ended in the last minute.", ["judge", "kind"], minute["tokens"]
        ),
        gauge(
            "usd_per_minute",
            "Dollars of calls that ended in the last minute; unknown prices count as 0.",
            ["judge"],
            minute["usd"],
        ),
        gauge(
            "unscored_share",
            "Share of calls answered in the last 10 minutes that have no score.",
            ["judge"],
            _unscored(window),
        ),
    ]


def _unscored(window: dict[tuple[str, ...], float]) -> dict[tuple[str, ...], float]:
    """Share of answers without a score, by judge. Errors, which are retried, and lost calls are not answers."""
    answers = {key: n for key, n in window.items() if key[1] not in ("open", "error", "lost")}
    totals: Counter[str] = Counter()
    for (judge, _), n in answers.items():
        totals[judge] += int(n)
    return {(judge,): 1.0 - answers.get((judge, "scored"), 0.0) / total for judge, total in totals.items()}


def _of_workers_and_budgets(tx: Connection) -> list[Metric]:
    live = sa.select(workers.c.queues, sa.func.count()).where(workers.c.state == "live").group_by(workers.c.queues)
    serving: Counter[tuple[str, ...]] = Counter({(queue,): 0 for queue in QUEUES})
    for queues, n in tx.execute(live):
        for queue in set(queues.split(",")) & set(QUEUES):
            serving[queue,] += n
    total = budgets.c.spent_usd + budgets.c.reserved_usd + budgets.c.lost_usd
    latest = sa.select(budgets.c.scope, total).order_by(budgets.c.scope.desc())
    newest = [
        tx.execute(latest.where(budgets.c.scope.like(f"{kind} %")).limit(1)).first() for kind in ("month", "night")
    ]
    by_state = sa.select(batches.c.state, sa.func.count()).group_by(batches.c.state)
    night = tx.execute(sa.select(sa.func.max(nights.c.ended_at)).where(nights.c.state == "done")).scalar()
    return [
        gauge("workers", "Live workers by the queue they serve.", ["queue"], dict(serving)),
        gauge(
            "budget_used_usd",
            "Dollars spent, reserved or lost in the newest month and night.",
            ["scope"],
            {(row[0],): row[1] for row in newest if row},
        ),
        gauge("batches", "Provider batches by state.", ["state"], {(s,): n for s, n in tx.execute(by_state)}),
        gauge("night_ended_timestamp_seconds", "When the last night ended.", [], {(): night} if night else {}),
    ]


def _of_queues(client: redis.Redis) -> list[Metric]:
    with client.pipeline(transaction=False) as pipe:
        for queue in QUEUES:
            pipe.llen(queue)
        pipe.hlen("unacked")
        *lengths, unacked = pipe.execute()
    used = client.info("memory")["used_memory"]
    return [
        gauge("queue_length", "Messages waiting.", ["queue"], {(q,): n for q, n in zip(QUEUES, lengths, strict=True)}),
        gauge("unacked_messages", "Messages that workers have not acknowledged yet.", [], {(): unacked}),
        gauge("redis_memory_bytes", "Memory used by Redis.", [], {(): used}),
    ]


def _of_limiters(client: redis.Redis) -> list[Metric]:
    """The rate limiters, from the keys written by `judges/limits/redis_limiter.lua`: state, slots and calls of the window."""
    figures: dict[str, dict[tuple[str, ...], float]] = defaultdict(dict)
    for raw_name in client.scan_iter(match="{autointerp:limit:*}", count=1000):
        name = raw_name.decode()
        key = name.removeprefix("{autointerp:limit:").removesuffix("}")
        with client.pipeline(transaction=False) as pipe:
            pipe.hmget(name, "limit", "now", "paused_until", "input", "output")
            pipe.zcard(f"{name}:slots")
            pipe.zcard(f"{name}:calls")
            state, slots, in_window = pipe.execute()
        limit, now, until, read, written = (float(value or 0) for value in state)
        figures["limiter_slots"][key, "allowed"] = limit
        figures["limiter_slots"][key, "taken"] = slots
        figures["limiter_window"][key, "requests"] = in_window
        figures["limiter_window"][key, "input_tokens"] = read
        figures["limiter_window"][key, "output_tokens"] = written
        figures["limiter_pause_seconds"][key,] = max(0.0, (until - now) / 1e6)
    return [
        gauge(
            "limiter_slots",
            "Concurrent calls: allowed now, and in flight.",
            ["limiter", "of"],
            figures["limiter_slots"],
        ),
        gauge(
            "limiter_window",
            "Requests and tokens in the limiter's window, one minute.",
            ["limiter", "of"],
            figures["limiter_window"],
        ),
        gauge(
            "limiter_pause_seconds",
            "Seconds left of the provider's pause when the limiter was last used.",
            ["limiter"],
            figures["limiter_pause_seconds"],
        ),
    ]


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=9464, show_default=True, help="Port to listen on; 0 takes a free one.")
def main(host: str, port: int) -> None:
    """Serve metrics of the ledger and of Redis at /metrics."""
    try:
        settings = Settings.from_env()
        logs.configure(settings)
        _ = settings.broker_url
        registry = CollectorRegistry()
        registry.register(ServiceCollector(settings))
        server, _thread = start_http_server(port, host, registry)
    except (AutointerpError, OSError) as error:
        sys.exit(f"autointerp: {error}")
    click.echo(f"http://{host}:{server.server_port}/metrics")
    threading.Event().wait()


if __name__ == "__main__":
    main()
