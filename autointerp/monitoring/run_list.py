"""What `autointerp runs`, `status` without a run, `logs` and `workers` print, read from the ledger only."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import RowMapping

from autointerp.formatting import dollars, estimate
from autointerp.ledger import events, jobs, runs, workers
from autointerp.ledger.database import Ledger
from autointerp.ledger.runs import no_such_run
from autointerp.monitoring import run_names
from autointerp.monitoring.input_names import InputNames
from autointerp.monitoring.run_status import current_stage, local_time, short_duration

RECENT = 10
"""How many ended runs are listed after the live ones."""
NO_WORKERS = "no workers: start this host's with `autointerp workers start --beat` (docs/operations.md)"


def list_runs(ledger: Ledger, results: Path) -> Iterator[str]:
    """One line per run, newest first."""
    with ledger.read() as tx:
        rows = runs.all_runs(tx)
    if not rows:
        yield no_runs(results)
    yield from _table([(row, local_time(row["created_at"]), outcome(results, row)) for row in rows])


def no_runs(results: Path) -> str:
    """The line about a ledger without runs, or a folder without a ledger."""
    return f"no runs yet in {results}: start one with `autointerp run SPEC` or `autointerp demo`"


def _table(rows: Sequence[tuple[RowMapping, str, str]]) -> Iterator[str]:
    """One line per run, given with a time and its last column."""
    lines = [
        (row["run_id"], row["state"], at, dollars(row["spent_usd"]), *InputNames.of(row["spec"]).short, last)
        for row, at, last in rows
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def list_progress(ledger: Ledger, results: Path) -> Iterator[str]:
    """One line per live run, then one per recently changed run."""
    shown = overview(ledger)
    if not shown:
        yield no_runs(results)
    yield from _table(
        [
            (
                row,
                local_time(row["updated_at"]),
                current_stage(stages) if row["state"] in runs.LIVE else outcome(results, row),
            )
            for row, stages in shown
        ]
    )


def overview(ledger: Ledger) -> list[tuple[RowMapping, dict[str, dict[str, int]]]]:
    """Live runs with their jobs by stage and state, then the last changed others without them."""
    with ledger.read() as tx:
        rows = sorted(runs.all_runs(tx), key=lambda row: -row["updated_at"])
        live = [(row, jobs.counts(tx, row["run_id"])) for row in rows if row["state"] in runs.LIVE]
    return live + [(row, {}) for row in rows if row["state"] not in runs.LIVE][:RECENT]


def log_lines(rows: Sequence[RowMapping]) -> Iterator[str]:
    """One line per event, in local time."""
    for row in rows:
        worker = f"  [{row['worker']}]" if row["worker"] else ""
        yield f"{local_time(row['at'], seconds=True)}  {row['level']:<7}  {' '.join(row['text'].split())}{worker}"


def events_of(ledger: Ledger, run_id: str, after: int = 0) -> Sequence[RowMapping]:
    """A run's events after event `after`; with an empty `run_id` those of the service. Raises `UsageError` for an unknown run."""
    with ledger.read() as tx:
        if run_id and runs.get(tx, run_id) is None:
            raise no_such_run(run_id)
        return events.of_run(tx, run_id, after=after)


def run_ids(ledger: Ledger) -> list[str]:
    """The ids of all runs, newest first."""
    with ledger.read() as tx:
        return [row["run_id"] for row in runs.all_runs(tx)]


def known_run(name: str, ledger: Ledger) -> str:
    """The id of the run in the ledger that `name` stands for: its id, the beginning of it, or `latest`. Raises `UsageError`."""
    return run_names.find(name, run_ids(ledger))


def list_workers(ledger: Ledger, *, gone: bool = False) -> Iterator[str]:
    """One line per live worker; with `gone`, dead ones too. Ages are by this host's clock."""
    with ledger.read() as tx:
        rows = workers.recent(tx) if gone else workers.live(tx)
    if not rows:
        yield NO_WORKERS
    for row in rows:
        beat = f"last heartbeat {short_duration(time.time() - row['beat_at'])} ago"
        where = f"{row['host']} pid {row['pid']}"
        yield f"{row['worker_id']:<44} {row['state']:<5} {where:<28} {row['queues']:<20} {beat}"


def outcome(results: Path, row: Mapping[str, Any] | RowMapping) -> str:
    """Why a run stopped, or its headline; empty if it has neither."""
    if row["reason"]:
        return str(row["reason"])
    path = results / row["run_id"] / "summary.json"
    if not path.exists():
        return ""
    summary = json.loads(path.read_text(encoding="utf-8"))
    headline = summary["headline"]
    if headline.get("withheld"):
        return f"headline withheld: {headline['withheld']}"
    if not headline["n_neurons"]:
        grade = summary["controls"]["main"]["feature"]
        return f"features graded {estimate(grade['mean'], grade['ci_low'], grade['ci_high'])}"
    difference = estimate(headline["difference"], headline["ci_low"], headline["ci_high"], signed=True)
    why = headline.get("why")
    return f"features minus neurons {difference}" + (f" ({why})" if why else "")
