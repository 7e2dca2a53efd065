"""One night: find what is new, begin its runs under the budget and until the deadline, and say in the morning what came of it.

    plan_night -> begin_runs -> morning.finish_night, once every run has ended

Each may be called again at any time, by another process too: the ledger knows what was begun, and nothing is begun twice.
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
from autointerp.judges.base import JudgeError
from autointerp.judges.retirement import retirement
from autointerp.ledger import budgets, nights, runs
from autointerp.ledger.database import Ledger
from autointerp.ledger.nights import COPY, CORRUPT, FAILED, QUEUED, WAITING, Version
from autointerp.locks import locked
from autointerp.nightly import versions
from autointerp.nightly.config import Nightly
from autointerp.nightly.night_summary import LOCK, conclude
from autointerp.nightly.runners import Carrier
from autointerp.nightly.sources import discover
from autointerp.spec.spec import Spec
from sae.errors import DictionaryError, SaeError, one_line

Clock = Callable[[], float]


@dataclass(frozen=True)
class Planned:
    """A dictionary that waits for its run."""

    version: Version
    spec: Spec

    def describe(self) -> str:
        change = self.version.change
        what = "first version" if change is None else f"changed by {change:.1%}"
        again = f"; left by an earlier night: {self.version.reason}" if self.version.reason else ""
        return f"{self.version.path} ({what}{again})"


@dataclass(frozen=True)
class Plan:
    """What a night would begin, in order, and what it would not."""

    planned: tuple[Planned, ...]
    copies: tuple[Version, ...]
    corrupt: tuple[Version, ...]
    notes: tuple[str, ...]

    def describe(self) -> list[str]:
        lines = [f"to score: {planned.describe()}" for planned in self.planned] or ["nothing new to score"]
        lines += [f"copy, not scored again: {v.path} has the weights of {v.reason}" for v in self.copies]
        lines += [f"corrupt: {v.path}: {v.reason}" for v in self.corrupt]
        return lines + list(self.notes)


def today(clock: Clock = time.time) -> str:
    """The date key of a night that begins now."""
    return datetime.fromtimestamp(clock()).date().isoformat()


def run_night(
    ledger: Ledger,
    config: Nightly,
    date: str,
    results: Path,
    carrier: Carrier,
    *,
    settle: bool = True,
    clock: Clock = time.time,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any] | None:
    """Take a night as far as it goes: to its summary, or None while workers carry its runs or where it is done already.

    Call `morning.finish_night` until it returns the summary then. `settle` leaves files that changed within a minute to the next night.
    Raises `UsageError` where another process here is at the same work.
    """
    check_budget(config)
    with locked(results / LOCK, "the nights of this results folder"):
        with ledger.write() as tx:
            state = nights.begin(tx, date, config.night.usd)["state"]
        if state == nights.DONE:
            tell(f"night {date} is done: the next one is tomorrow's")
            return None
        _take_over(ledger, config, date, results, carrier)
        plan = plan_night(ledger, config, date, settle=settle)
        for line in plan.describe():
            tell(line)
        begin_runs(ledger, config, date, plan, carrier, clock=clock, tell=tell)
        return conclude(ledger, config, date, results)


def check_budget(config: Nightly) -> None:
    """Raise `UsageError` where the night's budget cannot be kept, because a judge's price is unknown."""
    template = config.template()
    if config.night.usd is not None:
        for settings in (template.judge, template.explained_by):
            price_within(settings, budgets.Limits(config.night.usd))


def plan_night(ledger: Ledger, config: Nightly, date: str, *, settle: bool = True) -> Plan:
    """Find and write down what the sources hold. Begins no run and needs no open night, so it serves a dry run too."""
    candidates, notes = discover(config.sources)
    found, unsettled = versions.register(ledger, config, candidates, settle=settle)
    notes += [f"{path} is still being written: left to the next night" for path in unsettled]
    notes += _retirements(config)
    with ledger.write() as tx:
        opened = nights.get(tx, date) is not None
        if opened:
            nights.report_finds(tx, date)
            nights.note(tx, date, notes)
        rows = nights.known(tx)
    by_key = {candidate.key: candidate for candidate in candidates}
    finds = [version for version in rows.values() if version.night == (date if opened else "")]
    waiting = [rows[key] for key in found if _is_open(rows[key], date)]
    return Plan(
        planned=tuple(Planned(v, config.spec_for(by_key[v.dictionary_key])) for v in _in_order(waiting, config, date)),
        copies=tuple(v for v in finds if v.state == COPY and v.path != v.reason),
        corrupt=tuple(v for v in finds if v.state == CORRUPT),
        notes=tuple(notes),
    )


def preview(ledger: Ledger, config: Nightly, date: str, carrier: Carrier, *, settle: bool = True) -> list[str]:
    """What a night would do and cost, as lines. Opens no night and asks no judge."""
    check_budget(config)
    plan = plan_night(ledger, config, date, settle=settle)
    lines, total = plan.describe(), 0.0
    for planned in plan.planned:
        try:
            usd = carrier.forecast(planned.spec)
        except (AutointerpError, SaeError) as error:
            lines.append(f"{planned.version.path}: no forecast: {one_line(error)}")
            continue
        lines.append(f"{planned.version.path}: " + ("cost unknown" if usd is None else f"about ${usd:.4f}"))
        total += usd or 0.0
    limit = "" if config.night.usd is None else f" of night.usd = {config.night.usd:g}"
    return [*lines, f"in all about ${total:.4f}{limit}, without the anchors"]


def begin_runs(
    ledger: Ledger,
    config: Nightly,
    date: str,
    plan: Plan,
    carrier: Carrier,
    *,
    clock: Clock = time.time,
    tell: Callable[[str], None] = lambda line: None,
) -> None:
    """Begin the planned runs one after the other; what does not fit into the night waits for the next, with its reason."""
    deadline = _deadline(ledger, config, date)
    stopped = ""
    if clock() < deadline:
        carrier.expect([planned.spec for planned in plan.planned])
    for planned in plan.planned:
        try:
            why = stopped or ("" if clock() < deadline else f"the deadline {config.night.deadline} had passed")
            usd = 0.0 if why else carrier.forecast(planned.spec) or 0.0
            why = why or _too_dear(ledger, config, date, usd)
            if not why:
                _begin(ledger, date, planned, usd, carrier)
        except DictionaryError as error:
            _settle(ledger, planned, date, FAILED, one_line(error))
            tell(f"failed: {planned.version.path}: {one_line(error)}")
            continue
        except (AutointerpError, SaeError) as error:
            # A budget at its end stops this run; anything else would stop the others as well.
            why = one_line(error)
            stopped = "" if isinstance(error, BudgetExceeded) else why
        if why:
            _settle(ledger, planned, date, WAITING, why)
            tell(f"left to the next night: {planned.version.path}: {why}")


def _begin(ledger: Ledger, date: str, planned: Planned, usd: float, carrier: Carrier) -> None:
    key = planned.version.dictionary_key
    with ledger.write() as tx:
        if not nights.claim(tx, key, date, usd):
            return
    run_id = carrier.carry(planned.spec, date)
    with ledger.write() as tx:
        nights.update(tx, key, run_id=run_id)


def _settle(ledger: Ledger, planned: Planned, date: str, state: str, reason: str) -> None:
    with ledger.write() as tx:
        nights.update(tx, planned.version.dictionary_key, state=state, night=date, reason=reason, run_id="")


def _take_over(ledger: Ledger, config: Nightly, date: str, results: Path, carrier: Carrier) -> None:
    """End earlier nights that were cut short; runs that died with their process are first in line."""
    with ledger.write() as tx:
        for version in nights.known(tx).values():
            lost = version.run_id == "" or not carrier.lasting
            if version.state == QUEUED and version.night < date and lost:
                reason = f"night {version.night} was cut short"
                nights.update(tx, version.dictionary_key, state=WAITING, reason=reason, run_id="")
        earlier = [night for night in nights.unfinished(tx) if night < date]
    for night in earlier:
        conclude(ledger, config, night, results)


def _is_open(version: Version, date: str) -> bool:
    begun_and_lost = version.state == QUEUED and version.night == date and not version.run_id
    return version.state == WAITING or begun_and_lost


def _in_order(waiting: Iterable[Version], config: Nightly, date: str) -> list[Version]:
    """What an earlier night left comes first, the longest waiting before all; then by change or age, as the night says."""

    def place(version: Version) -> tuple[Any, ...]:
        left = 0 if version.night else 1
        newest = -version.modified_at
        change = -(float("inf") if version.change is None else version.change)
        rank = (newest,) if config.night.order == "newest" else (change, newest)
        return (left, version.first_seen if version.night else 0.0, *rank, version.path)

    return sorted(waiting, key=place)


def _deadline(ledger: Ledger, config: Nightly, date: str) -> float:
    """The first time after the night's start at which the clock shows the deadline, as seconds since the epoch."""
    if config.night.deadline is None:
        return float("inf")
    with ledger.read() as tx:
        row = nights.get(tx, date)
    if row is None:
        raise UsageError(f"night {date} was not begun: run `autointerp nightly`")
    started = datetime.fromtimestamp(row["started_at"])
    hour, minute = map(int, config.night.deadline.split(":"))
    at = started.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return (at if at > started else at + timedelta(days=1)).timestamp()


def _too_dear(ledger: Ledger, config: Nightly, date: str, usd: float) -> str:
    """Why a run of this forecast does not fit into what the night has left; empty where it does."""
    limit = config.night.usd
    if limit is None:
        return ""
    with ledger.read() as tx:
        spent = budgets.spent(tx, f"night {date}")
        live = {row["run_id"] for row in runs.live(tx, "fleet")}
        flying = sum(v.forecast_usd for v in nights.of_night(tx, date) if v.state == QUEUED and v.run_id in live)
    if usd <= limit - spent - flying:
        return ""
    if usd > limit:
        return f"its forecast of ${usd:.4f} exceeds night.usd = {limit:g}: raise it, or ask less"
    return f"its forecast of ${usd:.4f} exceeds what was left of night.usd = {limit:g}"


def _retirements(config: Nightly) -> list[str]:
    """What the providers say of the judges' models; a model that is gone is said here, and stops the runs later."""
    template = config.template()
    said = []
    for settings in {judge.model: judge for judge in (template.judge, template.explained_by)}.values():
        try:
            said.append(retirement(settings))
        except (JudgeError, UsageError) as error:
            said.append(f"{settings.model}: {one_line(error)}")
    return [line for line in said if line]
