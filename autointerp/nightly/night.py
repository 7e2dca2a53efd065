"""One night: find new dictionaries, start their runs within the budget and before the deadline, and summarise the results.

    plan_night -> start_runs -> night_summary.finish_night, once every run has ended

Each step may be repeated at any time, also by another process: the ledger records what was started, and nothing starts twice.
`run_night` calls all three.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from autointerp.calls.cost_limits import price_within
from autointerp.errors import AutointerpError, BudgetExceeded, UsageError
from autointerp.formatting import dollars, percent
from autointerp.judges.base import JudgeError
from autointerp.ledger import budgets, nights, runs
from autointerp.ledger.database import Ledger
from autointerp.ledger.nights import COPY, CORRUPT, FAILED, QUEUED, WAITING, DictionaryVersion
from autointerp.locks import locked
from autointerp.nightly import versions
from autointerp.nightly.config import Nightly
from autointerp.nightly.night_summary import LOCK, close_night
from autointerp.nightly.runners import Runner
from autointerp.nightly.sources import discover
from autointerp.spec.spec import Spec
from sae.errors import DictionaryError, SaeError, one_line

Clock = Callable[[], float]


@dataclass(frozen=True)
class Planned:
    """A version that waits for its run, with the spec of that run."""

    version: DictionaryVersion
    spec: Spec

    def describe(self) -> str:
        change = self.version.change
        change_text = "first version" if change is None else f"changed by {percent(change)}"
        postponed = f"; postponed by an earlier night: {self.version.reason}" if self.version.reason else ""
        return f"{self.version.path} ({change_text}{postponed})"


@dataclass(frozen=True)
class Plan:
    """The runs that a night will start, in order, and the dictionaries that it will not score."""

    planned: tuple[Planned, ...]
    copies: tuple[DictionaryVersion, ...]
    corrupt: tuple[DictionaryVersion, ...]
    notes: tuple[str, ...]

    def describe(self) -> list[str]:
        lines = [f"to score: {planned.describe()}" for planned in self.planned] or ["nothing new to score"]
        lines += [f"copy, not scored again: {v.path} has the same weights as {v.reason}" for v in self.copies]
        lines += [f"corrupt: {v.path}: {v.reason}" for v in self.corrupt]
        return lines + list(self.notes)


def today(clock: Clock = time.time) -> str:
    """The date of a night that starts now."""
    return datetime.fromtimestamp(clock()).date().isoformat()


def run_night(
    ledger: Ledger,
    config: Nightly,
    date: str,
    results: Path,
    runner: Runner,
    *,
    settle: bool = True,
    clock: Clock = time.time,
    note: Callable[[str], None] = lambda line: None,
) -> dict[str, Any] | None:
    """Start a night's runs, and return its summary, or None if workers are still executing them or the night is already done.

    In the first case call `night_summary.finish_night` until it returns the summary. `settle` leaves files that changed within
    the last minute to the next night. Raises `UsageError`, and `AlreadyLocked` if another process is working on a night here.
    """
    check_budget(config)
    with locked(results / LOCK, "the nights of this results folder"):
        with ledger.write() as tx:
            state = nights.begin(tx, date, config.night.usd)["state"]
        if state == nights.DONE:
            note(f"night {date} is already done")
            return None
        _close_earlier_nights(ledger, config, date, results, runner)
        plan = plan_night(ledger, config, date, settle=settle)
        for line in plan.describe():
            note(line)
        start_runs(ledger, config, date, plan, runner, clock=clock, note=note)
        return close_night(ledger, config, date, results)


def check_budget(config: Nightly) -> None:
    """Raise `UsageError` if the night has a budget and a judge's price is unknown, so that it cannot be enforced."""
    template = config.template()
    if config.night.usd is not None:
        for settings in (template.judge, template.explained_by):
            price_within(settings, budgets.Limits(config.night.usd))


def plan_night(ledger: Ledger, config: Nightly, date: str, *, settle: bool = True) -> Plan:
    """Find and record the dictionaries in the sources. Starts no run and needs no open night, so a dry run uses it too."""
    candidates, notes = discover(config.sources)
    rows_by_key, unsettled = versions.register(ledger, config, candidates, settle=settle)
    notes += [f"{path} is still being written: postponed to the next night" for path in unsettled]
    notes += _retirements(config)
    with ledger.write() as tx:
        opened = nights.get(tx, date) is not None
        if opened:
            nights.assign_finds(tx, date)
            nights.add_notes(tx, date, notes)
        rows = nights.all_versions(tx)
    by_key = {candidate.key: candidate for candidate in candidates}
    finds = [version for version in rows.values() if version.night == (date if opened else "")]
    waiting = [rows[key] for key in rows_by_key if _is_open(rows[key], date)]
    return Plan(
        planned=tuple(Planned(v, config.spec_for(by_key[v.dictionary_key])) for v in _in_order(waiting, config, date)),
        copies=tuple(v for v in finds if v.state == COPY and v.path != v.reason),
        corrupt=tuple(v for v in finds if v.state == CORRUPT),
        notes=tuple(notes),
    )


def preview(ledger: Ledger, config: Nightly, date: str, runner: Runner, *, settle: bool = True) -> list[str]:
    """What a night would do and cost, as lines. Opens no night and asks no judge."""
    check_budget(config)
    plan = plan_night(ledger, config, date, settle=settle)
    lines, total = plan.describe(), 0.0
    for planned in plan.planned:
        try:
            usd = runner.forecast(planned.spec)
        except (AutointerpError, SaeError) as error:
            lines.append(f"{planned.version.path}: no forecast: {one_line(error)}")
            continue
        lines.append(f"{planned.version.path}: " + ("cost unknown" if usd is None else f"about {dollars(usd)}"))
        total += usd or 0.0
    limit = "" if config.night.usd is None else f" of night.usd = {config.night.usd:g}"
    return [*lines, f"total about {dollars(total)}{limit}, without the anchors"]


def start_runs(
    ledger: Ledger,
    config: Nightly,
    date: str,
    plan: Plan,
    runner: Runner,
    *,
    clock: Clock = time.time,
    note: Callable[[str], None] = lambda line: None,
) -> None:
    """Start the planned runs in order. Those that do not fit into the budget or the time wait for the next night, with the reason."""
    deadline = _deadline(ledger, config, date)
    stopped = ""
    if clock() < deadline:
        runner.prefetch([planned.spec for planned in plan.planned])
    for planned in plan.planned:
        try:
            reason = stopped or ("" if clock() < deadline else f"the deadline {config.night.deadline} had passed")
            usd = 0.0 if reason else runner.forecast(planned.spec) or 0.0
            reason = reason or _over_budget(ledger, config, date, usd)
            if not reason:
                _start(ledger, date, planned, usd, runner)
        except DictionaryError as error:
            _set_state(ledger, planned, date, FAILED, one_line(error))
            note(f"failed: {planned.version.path}: {one_line(error)}")
            continue
        except (AutointerpError, SaeError) as error:
            # A spent budget stops this run only; any other error would stop the following ones as well.
            reason = one_line(error)
            stopped = "" if isinstance(error, BudgetExceeded) else reason
        if reason:
            _set_state(ledger, planned, date, WAITING, reason)
            note(f"postponed to the next night: {planned.version.path}: {reason}")


def _start(ledger: Ledger, date: str, planned: Planned, usd: float, runner: Runner) -> None:
    """Claim a version and start its run, unless another process has claimed it."""
    key = planned.version.dictionary_key
    with ledger.write() as tx:
        if not nights.claim(tx, key, date, usd):
            return
    run_id = runner.execute(planned.spec, date)
    with ledger.write() as tx:
        nights.update(tx, key, run_id=run_id)


def _set_state(ledger: Ledger, planned: Planned, date: str, state: str, reason: str) -> None:
    with ledger.write() as tx:
        nights.update(tx, planned.version.dictionary_key, state=state, night=date, reason=reason, run_id="")


def _close_earlier_nights(ledger: Ledger, config: Nightly, date: str, results: Path, runner: Runner) -> None:
    """Close earlier nights that were interrupted. Runs that ended with their process wait again, ahead of the others."""
    with ledger.write() as tx:
        for version in nights.all_versions(tx).values():
            lost = version.run_id == "" or not runner.survives_exit
            if version.state == QUEUED and version.night < date and lost:
                reason = f"night {version.night} was interrupted"
                nights.update(tx, version.dictionary_key, state=WAITING, reason=reason, run_id="")
        earlier = [night for night in nights.unfinished(tx) if night < date]
    for night in earlier:
        close_night(ledger, config, night, results)


def _is_open(version: DictionaryVersion, date: str) -> bool:
    """Whether a version still needs a run to be started."""
    start_interrupted = version.state == QUEUED and version.night == date and not version.run_id
    return version.state == WAITING or start_interrupted


def _in_order(waiting: Iterable[DictionaryVersion], config: Nightly, date: str) -> list[DictionaryVersion]:
    """Versions postponed by earlier nights come first, oldest first; then the rest in the configured order."""

    def rank(version: DictionaryVersion) -> tuple[Any, ...]:
        newest = -version.modified_at
        change = -(float("inf") if version.change is None else version.change)
        configured = (newest,) if config.night.order == "newest" else (change, newest)
        return (not version.night, version.first_seen if version.night else 0.0, *configured, version.path)

    return sorted(waiting, key=rank)


def _deadline(ledger: Ledger, config: Nightly, date: str) -> float:
    """The night's deadline in seconds since the epoch: the first such time of day after the night's start."""
    if config.night.deadline is None:
        return float("inf")
    with ledger.read() as tx:
        row = nights.get(tx, date)
    if row is None:
        raise UsageError(f"night {date} was not started: run `autointerp nightly`")
    started = datetime.fromtimestamp(row["started_at"])
    hour, minute = map(int, config.night.deadline.split(":"))
    at = started.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return (at if at > started else at + timedelta(days=1)).timestamp()


def _over_budget(ledger: Ledger, config: Nightly, date: str, usd: float) -> str:
    """Why a run with this forecast does not fit into the rest of the night's budget; empty if it does."""
    limit = config.night.usd
    if limit is None:
        return ""
    with ledger.read() as tx:
        spent = budgets.committed(tx, f"night {date}")
        live = {row["run_id"] for row in runs.live_with_workers(tx)}
        running = sum(v.forecast_usd for v in nights.of_night(tx, date) if v.state == QUEUED and v.run_id in live)
    if usd <= limit - spent - running:
        return ""
    if usd > limit:
        return f"its forecast of {dollars(usd)} exceeds night.usd = {limit:g}: raise it, or ask fewer questions"
    return f"its forecast of {dollars(usd)} exceeds what was left of night.usd = {limit:g}"


def _retirements(config: Nightly) -> list[str]:
    """Notes about models that the providers have retired or will retire. A retired model stops the runs later."""
    from autointerp.judges.retirement import retirement  # the providers' SDKs

    template = config.template()
    notes = []
    for settings in {judge.model: judge for judge in (template.judge, template.explained_by)}.values():
        try:
            notes.append(retirement(settings))
        except (JudgeError, UsageError) as error:
            notes.append(f"{settings.model}: {one_line(error)}")
    return [note for note in notes if note]
