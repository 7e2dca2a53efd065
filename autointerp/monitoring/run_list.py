"""What `autointerp runs`, `status` without a run, `logs` and `workers` print, read from the ledger alone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import RowMapping

from autointerp.ledger import events, jobs, runs, workers
from autointerp.ledger.database import Ledger
from autointerp.ledger.runs import no_such_run
from autointerp.monitoring.run_status import ago, moment, progress

RECENT = 10
"""Runs that are shown beside those that go on."""


def list_runs(ledger: Ledger, results: Path) -> Iterator[str]:
    """A line a run, newest first."""
    with ledger.read() as tx:
        found = runs.every(tx)
    if not found:
        yield f"no runs in {results}: start one with `autointerp run SPEC` or `autointerp demo`"
        return
    for row in found:
        yield f"{row['run_id']:<32} {row['state']:<9} {moment(row['created_at'])}  {_outcome(results, row)}"


def list_progress(ledger: Ledger, results: Path) -> Iterator[str]:
    """A line a run that goes on, and one a run that was changed lately."""
    found = overview(ledger)
    if not found:
        yield f"no runs in {results}: start one with `autointerp run SPEC` or `autointerp submit SPEC`"
    for row, stages in found:
        said = progress(stages) if row["state"] in runs.LIVE else _outcome(results, row)
        yield f"{row['run_id']:<32} {row['state']:<9} {moment(row['updated_at'])}  ${row['spent_usd']:<10.4f} {said}"


def overview(ledger: Ledger) -> list[tuple[RowMapping, dict[str, dict[str, int]]]]:
    """Runs that go on with their jobs by stage and state, then the ones that changed last, without."""
    with ledger.read() as tx:
        rows = sorted(runs.every(tx), key=lambda row: -row["updated_at"])
        live = [(row, jobs.counts(tx, row["run_id"])) for row in rows if row["state"] in runs.LIVE]
    return live + [(row, {}) for row in rows if row["state"] not in runs.LIVE][:RECENT]


def log_lines(rows: Sequence[RowMapping]) -> Iterator[str]:
    """A line an event, in local time."""
    for row in rows:
        worker = f"  [{row['worker']}]" if row["worker"] else ""
        yield f"{moment(row['at'], seconds=True)}  {row['level']:<7}  {' '.join(row['text'].split())}{worker}"


def events_of(ledger: Ledger, run_id: str, after: int = 0) -> Sequence[RowMapping]:
    """A run's events later than event `after`; with an empty `run_id` those of no single run. Raises `UsageError`."""
    with ledger.read() as tx:
        if run_id and runs.get(tx, run_id) is None:
            raise no_such_run(run_id)
        return events.of_run(tx, run_id, after=after)


def run_ids(ledger: Ledger) -> list[str]:
    """All runs, newest first."""
    with ledger.read() as tx:
        return [row["run_id"] for row in runs.every(tx)]


def list_workers(ledger: Ledger, *, gone: bool = False) -> Iterator[str]:
    """A line a worker: those not known to be dead, or also the ones that were. Ages are by this host's clock."""
    with ledger.read() as tx:
        found = workers.recent(tx) if gone else workers.live(tx)
    if not found:
        yield "no workers: start some with `celery -A workers.app worker`"
    for row in found:
        beat = f"last beat {ago(time.time() - row['beat_at'])} ago"
        where = f"{row['host']} pid {row['pid']}"
        yield f"{row['worker_id']:<44} {row['state']:<5} {where:<28} {row['queues']:<20} {beat}"


def _outcome(results: Path, row: Any) -> str:
    if row["reason"]:
        return str(row["reason"])
    path = results / row["run_id"] / "summary.json"
    if not path.exists():
        return ""
    headline = json.loads(path.read_text(encoding="utf-8"))["headline"]
    if headline.get("withheld") or headline.get("ci_low") is None:
        return ""
    return f"features {headline['difference']:+.2f} [{headline['ci_low']:.2f}, {headline['ci_high']:.2f}]"
