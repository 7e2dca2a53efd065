"""What goes on beside the runs: workers that are alive, the night, and the month's spending."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from autointerp.errors import UsageError
from autointerp.ledger import budgets, nights, run_progress, runs, workers
from autointerp.ledger.database import Ledger, now
from autointerp.ledger.nights import QUEUED, WAITING, DictionaryVersion
from autointerp.nightly import schedule
from autointerp.redaction import hide
from autointerp.report.index import night_line
from autointerp.settings import Settings

_MOST_VERSIONS = 50


def read(ledger: Ledger | None, results: Path) -> dict[str, Any]:
    """Workers, night and month."""
    settings = Settings.from_env()
    return {
        "workers": _workers(ledger) if ledger else [],
        "night": _night(ledger, results, settings.nightly),
        "month": _month(ledger, settings.month_usd) if ledger else None,
    }


def _workers(ledger: Ledger) -> list[dict[str, Any]]:
    """Workers with a recent heartbeat."""
    with ledger.read() as tx:
        at, rows = now(tx), workers.live(tx)
    return [
        {"worker_id": row["worker_id"], "host": row["host"], "pid": row["pid"], "queues": row["queues"], "silent_s": max(0.0, at - row["beat_at"])}
        for row in rows
        if at - row["beat_at"] < run_progress.SILENT_S
    ]  # fmt: skip


def _month(ledger: Ledger, limit: float | None) -> dict[str, Any]:
    """What this month (UTC) has cost: by its budget, or without one the runs that began in it."""
    month = time.strftime("%Y-%m", time.gmtime())
    with ledger.read() as tx:
        if limit is not None:
            return {"month": month, "usd": budgets.committed(tx, f"month {month}"), "limit_usd": limit}
        began = [row for row in runs.all_runs(tx) if time.strftime("%Y-%m", time.gmtime(row["created_at"])) == month]
    return {"month": month, "usd": sum(row["spent_usd"] for row in began), "limit_usd": None}


def _night(ledger: Ledger | None, results: Path, file: Path | None) -> dict[str, Any] | None:
    """The night that is running or planned, and the line of the last one; None if nights are neither planned nor known."""
    plan, problem = None, ""
    if file is not None:
        try:
            night = schedule.load(file)
            plan = {"start": night.start, "deadline": night.deadline, "usd": night.usd, "order": night.order}
        except UsageError as error:
            problem = hide(str(error))
    running, waiting = (None, []) if ledger is None else _of_ledger(ledger)
    last = _last_line(results / "nights")
    if not (plan or problem or running or waiting or last):
        return None
    return {"plan": plan, "problem": problem, "running": running, "waiting": waiting, "last": last}


def _of_ledger(ledger: Ledger) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """The night that has not ended, and the dictionaries that wait for one."""
    with ledger.read() as tx:
        dates = nights.unfinished(tx)
        waiting = [_version(each) for each in nights.all_versions(tx).values() if each.state == WAITING]
        if not dates:
            return None, waiting[:_MOST_VERSIONS]
        row, handled = nights.get(tx, dates[-1]), nights.of_night(tx, dates[-1])
        spent = budgets.committed(tx, f"night {dates[-1]}")
    assert row is not None, dates
    return {
        "date": dates[-1], "usd": row["usd"], "spent_usd": spent, "started_at": row["started_at"], "notes": hide(row["note"]).splitlines(),
        "n_queued": sum(each.state == QUEUED for each in handled), "versions": [_version(each) for each in handled][:_MOST_VERSIONS],
    }, waiting[:_MOST_VERSIONS]  # fmt: skip


def _version(version: DictionaryVersion) -> dict[str, Any]:
    names = ("path", "state", "reason", "change", "forecast_usd", "run_id")
    return {name: getattr(version, name) for name in names}


def _last_line(folder: Path) -> str:
    """The line of the last night that ended; empty if there is none that can be read."""
    for path in sorted(folder.glob("*.json"), reverse=True)[:5]:
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            return night_line(json.loads(path.read_text(encoding="utf-8")))
    return ""
