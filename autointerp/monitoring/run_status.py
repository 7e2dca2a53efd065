"""What `autointerp status RUN` prints: the progress of one run, as JSON values and as lines."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import RowMapping

from autointerp.errors import UsageError
from autointerp.formatting import dollars, plural
from autointerp.judges import prices
from autointerp.ledger import budgets, jobs, run_progress, runs
from autointerp.ledger.calls import ERROR, LOST, NO_REPLY, OPEN, UNSCORED
from autointerp.ledger.database import Ledger
from autointerp.ledger.jobs import STAGES
from autointerp.ledger.run_progress import RunProgress
from autointerp.ledger.runs import no_such_run
from autointerp.monitoring.input_names import InputNames
from autointerp.settings import Settings
from autointerp.spec.spec import Spec, from_toml

STATES = ("leased", "batched", "waiting", "pending", jobs.DEFERRED, "failed")
"""States of a job that is not done, in display order."""


def read_progress(ledger: Ledger, run_id: str) -> RunProgress:
    """The progress of a run. Raises `UsageError` for an unknown run."""
    month_usd = Settings.from_env().month_usd
    month = budgets.month_of(budgets.Limits(month=month_usd))
    with ledger.read() as tx:
        progress = run_progress.read(tx, run_id, month=month, month_usd=month_usd)
    if progress is None:
        raise no_such_run(run_id)
    return progress


def status_values(progress: RunProgress, results: Path, measured: Mapping[str, float] | None = None) -> dict[str, Any]:
    """Everything that `status` shows of a run, as JSON values. `measured` holds jobs per second by stage, if they were counted."""
    row, spec = progress.row, _spec(progress.row)
    report = results / row["run_id"] / "report.html"
    names = ("run_id", "name", "state", "reason", "carrier", "night", "created_at", "updated_at")
    return (
        {name: row[name] for name in names}
        | InputNames.of(row["spec"])._asdict()
        | {
            "stages": {s: _stage(progress, s, measured or {}) for s in STAGES if s in progress.stages},
            "unscored": progress.unscored,
            "errors": progress.errors,
            "calls": progress.calls,
            "cost": {
                "spent_usd": row["spent_usd"],
                "reserved_usd": row["reserved_usd"],
                "lost_usd": row["lost_usd"],
                "budget_usd": spec.budget.usd if spec else None,
                "unpriced": _unpriced(spec) if spec else [],
            },
            "budgets": {name: vars(use) for name, use in progress.budgets.items()},
            "workers": progress.workers,
            "report": str(report) if report.exists() else None,
        }
    )


def describe(status: Mapping[str, Any]) -> Iterator[str]:
    """The lines of `status RUN`, from `status_values`."""
    yield f"{status['run_id']}: {status['state']}" + (f" ({status['reason']})" if status["reason"] else "")
    for name in InputNames._fields:
        if status[name]:
            yield f"  {name:<10} {status[name]}"
    for name, stage in status["stages"].items():
        yield f"  {name:<10} {stage_line(stage)}"
    for error, n in status["errors"].items():
        yield f"  error      {n:,} x {error}"
    if status["unscored"]:
        yield "  unscored   " + ", ".join(f"{n:,} {reason}" for reason, n in sorted(status["unscored"].items()))
    yield f"  cost       {cost_line(status['cost'])}"
    for scope, use in status["budgets"].items():
        kind, date = scope.split()
        limit = "" if use["limit_usd"] is None else f" of {dollars(use['limit_usd'])}"
        yield f"  {kind:<10} {dollars(use['spent_usd'])}{limit} ({date})"
    yield f"  calls      {calls_line(status['calls'])}"
    if runs.is_with_workers(status) and not status["workers"]:
        yield f"  workers    no live workers in the last {run_progress.SILENT_S:.0f} s: start one to continue"
    if status["report"]:
        yield f"  report     {status['report']}"


def current_stage(stages: Mapping[str, Mapping[str, int]]) -> str:
    """The current stage of a run and its progress, such as `score 1,200 of 4,000`; empty if all have ended."""
    for stage in STAGES:
        states = stages.get(stage, {})
        if any(states.get(state) for state in jobs.UNFINISHED):
            return f"{stage} {count_ended(states):,} of {sum(states.values()):,}"
    return ""


def count_ended(states: Mapping[str, int]) -> int:
    """The number of jobs that have ended, failed ones included."""
    return states.get("done", 0) + states.get("failed", 0)


def local_time(at: float, *, seconds: bool = False) -> str:
    """A time in this host's time zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M", time.localtime(at))


def short_duration(seconds: float) -> str:
    """A duration in two units at most: `42 s`, `3 min`, `2 h 5 min`, `4 d 3 h`."""
    whole = max(0, round(seconds))
    if whole < 100:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def _stage(progress: RunProgress, name: str, measured: Mapping[str, float]) -> dict[str, Any]:
    states = progress.stages[name]
    left = sum(states.get(state, 0) for state in jobs.UNFINISHED)
    rate = _rate(progress, name, measured) if left and progress.row["state"] == "running" else None
    return {
        "jobs": sum(states.values()),
        "done": states.get("done", 0),
        **{state: states.get(state, 0) for state in STATES},
        "waiting_until": progress.waiting_until.get(name),
        "seconds": runs.stage_seconds(progress.row).get(name),
        "per_second": rate,
        "seconds_left": left / rate if rate else None,
    }


def _rate(progress: RunProgress, name: str, measured: Mapping[str, float]) -> float | None:
    """Jobs per second: as counted, else from the newest calls, else on average since the stage was planned."""
    done = count_ended(progress.stages[name])
    if name in measured or not done:
        return measured.get(name)
    if name in jobs.QUESTIONS and progress.answers_per_second:
        return progress.answers_per_second
    begun = runs.stage_begun(progress.row, name)
    return done / max(progress.at - begun, 1.0) if begun is not None else None


def stage_line(stage: Mapping[str, Any]) -> str:
    """The jobs of a stage of `status_values` in words: how many are done, what becomes of the others, and the time left."""
    if stage["done"] == stage["jobs"]:
        return f"{plural(stage['done'], 'job')} done" + (
            f" in {short_duration(stage['seconds'])}" if stage["seconds"] else ""
        )
    parts = [f"{stage['done']:,} of {plural(stage['jobs'], 'job')} done"]
    for state in STATES:
        if stage[state]:
            until = f" until {_clock(stage['waiting_until'])}" if state == "waiting" and stage["waiting_until"] else ""
            parts.append(f"{stage[state]:,} {state}{until}")
    if stage["per_second"]:
        rate = stage["per_second"]
        pace = f"{rate:,.1f}/s" if rate > 0.5 else f"{60 * rate:,.1f}/min"
        parts.append(f"{pace}, about {short_duration(stage['seconds_left'])} left")
    return ", ".join(parts)


def _clock(at: float) -> str:
    """A time of day, with the date unless it is today."""
    today = time.strftime("%Y-%m-%d") == time.strftime("%Y-%m-%d", time.localtime(at))
    return time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S", time.localtime(at))


def cost_line(cost: Mapping[str, Any]) -> str:
    """The cost of `status_values` in words."""
    parts = [dollars(cost["spent_usd"])]
    if cost["budget_usd"] is not None:
        parts[0] += f" of {dollars(cost['budget_usd'])} (budget.usd)"
    if cost["reserved_usd"] > budgets.ROUNDING:
        parts.append(f"up to {dollars(cost['reserved_usd'])} for calls in flight")
    if cost["lost_usd"] > budgets.ROUNDING:
        parts.append(f"up to {dollars(cost['lost_usd'])} for calls whose cost is unknown")
    parts += [f"the price of {model} is unknown" for model in cost["unpriced"]]
    return "; ".join(parts)


def calls_line(states: Mapping[str, int]) -> str:
    """Numbers of calls by state in words."""
    answered = sum(n for state, n in states.items() if state not in NO_REPLY)
    parts = [f"{answered:,} answered"] if answered else []
    others = {
        "in flight": (OPEN,),
        "failed attempts": (ERROR, UNSCORED),
        "lost: their replies never came": (LOST,),
    }
    counts = {meaning: sum(states.get(state, 0) for state in group) for meaning, group in others.items()}
    parts += [f"{n:,} {meaning}" for meaning, n in counts.items() if n]
    return ", ".join(parts) or "none yet"


def _spec(row: RowMapping) -> Spec | None:
    """A run's spec; None if this version cannot read it any more, in which case the rest of the status is still shown."""
    try:
        return from_toml(row["spec"])
    except (ValueError, UsageError):
        return None


def _unpriced(spec: Spec) -> list[str]:
    judges = {judge.model: judge for judge in (spec.judge, spec.explained_by)}
    return sorted(model for model, judge in judges.items() if prices.price_of(model, judge) is None)
