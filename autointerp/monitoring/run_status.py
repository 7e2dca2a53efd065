"""What `autointerp status RUN` says: where one run stands, as JSON values and as lines."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import RowMapping

from autointerp.errors import UsageError
from autointerp.judges import prices
from autointerp.ledger import budgets, jobs, run_progress, runs
from autointerp.ledger.calls import ERROR, LOST, OPEN
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import STAGES
from autointerp.ledger.run_progress import Standing
from autointerp.ledger.runs import no_such_run
from autointerp.settings import Settings
from autointerp.spec.spec import Spec, from_toml

STATES = ("leased", "batched", "waiting", "pending", jobs.LATER, "failed")
"""States of a job that is not done, in the order in which they are shown."""


def look(ledger: Ledger, run_id: str) -> Standing:
    """How a run stands. Raises `UsageError` where there is none such."""
    month_usd = Settings.from_env().month_usd
    month = budgets.month_of(budgets.Limits(month=month_usd))
    with ledger.read() as tx:
        found = run_progress.read(tx, run_id, month=month, month_usd=month_usd)
    if found is None:
        raise no_such_run(run_id)
    return found


def facts(found: Standing, results: Path, measured: Mapping[str, float] | None = None) -> dict[str, Any]:
    """Everything that `status` says of a run, as JSON values. `measured`: jobs a second by stage, where somebody counted."""
    row, spec = found.row, _spec(found.row)
    report = results / row["run_id"] / "report.html"
    names = ("run_id", "name", "state", "reason", "carrier", "night", "created_at", "updated_at")
    return {name: row[name] for name in names} | {
        "stages": {s: _stage(found, s, measured or {}) for s in STAGES if s in found.stages},
        "unscored": found.unscored,
        "errors": found.errors,
        "calls": found.calls,
        "cost": {
            "spent_usd": row["spent_usd"],
            "reserved_usd": row["reserved_usd"],
            "lost_usd": row["lost_usd"],
            "budget_usd": spec.budget.usd if spec else None,
            "unpriced": _unpriced(spec) if spec else [],
        },
        "budgets": {name: vars(purse) for name, purse in found.purses.items()},
        "workers": found.workers,
        "report": str(report) if report.exists() else None,
    }


def describe(said: Mapping[str, Any]) -> Iterator[str]:
    """The lines of `status RUN`, from `facts`."""
    live = said["state"] in runs.LIVE
    yield f"{said['run_id']}: {said['state']}" + (f" ({said['reason']})" if said["reason"] else "")
    for name, stage in said["stages"].items():
        yield f"  {name:<8} {_stage_line(stage)}"
    for error, n in said["errors"].items():
        yield f"  error    {n:,} x {error}"
    if said["unscored"]:
        yield "  unscored " + ", ".join(f"{n:,} {reason}" for reason, n in sorted(said["unscored"].items()))
    yield f"  cost     {_cost_line(said['cost'])}"
    for name, purse in said["budgets"].items():
        limit = "" if purse["limit_usd"] is None else f" of ${purse['limit_usd']:,.2f}"
        yield f"  {name.split()[0]:<8} ${purse['spent_usd']:.4f}{limit} ({name.split()[1]})"
    yield f"  calls    {_calls_line(said['calls'])}"
    if live and said["carrier"] == "fleet" and not said["workers"]:
        yield f"  workers  none has beaten in the last {run_progress.SILENT_S:.0f} s: nothing goes on until one is started"
    if said["report"]:
        yield f"  report   {said['report']}"


def progress(stages: Mapping[str, Mapping[str, int]]) -> str:
    """The stage that a run is at and how far: `score 1,200 of 4,000`."""
    for stage in STAGES:
        states = stages.get(stage, {})
        if any(states.get(state) for state in jobs.UNFINISHED):
            return f"{stage} {ended(states):,} of {sum(states.values()):,}"
    return ""


def ended(states: Mapping[str, int]) -> int:
    """Jobs that are behind us, failed ones included."""
    return states.get("done", 0) + states.get("failed", 0)


def moment(at: float, *, seconds: bool = False) -> str:
    """A time of this host's zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M", time.localtime(at))


def ago(seconds: float) -> str:
    """A duration in two units at most: `42 s`, `3 min`, `2 h 5 min`, `4 d 3 h`."""
    whole = max(0, round(seconds))
    if whole < 100:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def _stage(found: Standing, name: str, measured: Mapping[str, float]) -> dict[str, Any]:
    states = found.stages[name]
    left = sum(states.get(state, 0) for state in jobs.UNFINISHED)
    rate = _rate(found, name, measured) if left and found.row["state"] == "running" else None
    return {
        "jobs": sum(states.values()),
        "done": states.get("done", 0),
        **{state: states.get(state, 0) for state in STATES},
        "waiting_until": found.waiting_until.get(name),
        "seconds": runs.stage_seconds(found.row).get(name),
        "per_second": rate,
        "seconds_left": left / rate if rate else None,
    }


def _rate(found: Standing, name: str, measured: Mapping[str, float]) -> float | None:
    """Jobs a second: as counted, as the newest calls tell, or on average since the stage was planned."""
    done = ended(found.stages[name])
    if name in measured or not done:
        return measured.get(name)
    if name in jobs.QUESTIONS and found.answers_per_second:
        return found.answers_per_second
    begun = runs.stage_begun(found.row, name)
    return done / max(found.at - begun, 1.0) if begun is not None else None


def _stage_line(stage: Mapping[str, Any]) -> str:
    if stage["done"] == stage["jobs"]:
        return f"{stage['done']:,} done" + (f" in {ago(stage['seconds'])}" if stage["seconds"] else "")
    parts = [f"{stage['done']:,} of {stage['jobs']:,} done"]
    for state in STATES:
        if stage[state]:
            until = f" until {_clock(stage['waiting_until'])}" if state == "waiting" and stage["waiting_until"] else ""
            parts.append(f"{stage[state]:,} {state}{until}")
    if stage["per_second"]:
        rate = stage["per_second"]
        pace = f"{rate:,.1f}/s" if rate > 0.5 else f"{60 * rate:,.1f}/min"
        parts.append(f"{pace}, about {ago(stage['seconds_left'])} left")
    return ", ".join(parts)


def _clock(at: float) -> str:
    """A time of day, with its date where that is not today's."""
    today = time.strftime("%Y-%m-%d") == time.strftime("%Y-%m-%d", time.localtime(at))
    return time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S", time.localtime(at))


def _cost_line(cost: Mapping[str, Any]) -> str:
    parts = [f"${cost['spent_usd']:.4f}"]
    if cost["budget_usd"] is not None:
        parts[0] += f" of ${cost['budget_usd']:,.2f} (budget.usd)"
    if cost["reserved_usd"] > budgets.ROUNDING:
        parts.append(f"up to ${cost['reserved_usd']:.4f} for calls in flight")
    if cost["lost_usd"] > budgets.ROUNDING:
        parts.append(f"up to ${cost['lost_usd']:.4f} for calls whose cost is unknown")
    parts += [f"the price of {model} is unknown" for model in cost["unpriced"]]
    return "; ".join(parts)


def _calls_line(states: Mapping[str, int]) -> str:
    answered = sum(n for state, n in states.items() if state not in (OPEN, ERROR, LOST))
    parts = [f"{answered:,} answered"]
    for state, said in ((OPEN, "in flight"), (ERROR, "failed attempts"), (LOST, "lost: their replies never came")):
        if states.get(state):
            parts.append(f"{states[state]:,} {said}")
    return ", ".join(parts)


def _spec(row: RowMapping) -> Spec | None:
    """A run's spec; None where this version of the program reads it no more, which is no reason to say nothing."""
    try:
        return from_toml(row["spec"])
    except (ValueError, UsageError):
        return None


def _unpriced(spec: Spec) -> list[str]:
    given = {judge.model: judge for judge in (spec.judge, spec.explained_by)}
    return sorted(model for model, judge in given.items() if prices.price_of(model, judge) is None)
