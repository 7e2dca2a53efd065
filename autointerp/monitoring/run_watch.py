"""Follows a run, or all of them, until it ends: on a terminal a picture that is drawn anew, elsewhere a line now and then."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TypeVar

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text
from sqlalchemy import RowMapping

from autointerp.errors import (
    INTERRUPTED_EXIT_CODE,
    WITHHELD_EXIT_CODE,
    AutointerpError,
    UsageError,
)
from autointerp.ledger import runs
from autointerp.ledger.database import Ledger
from autointerp.ledger.run_progress import Standing
from autointerp.monitoring.run_list import events_of, list_progress, log_lines, overview
from autointerp.monitoring.run_status import describe, ended, facts, look, progress

T = TypeVar("T")
INTERVAL_S = 1.0
LINE_S = 10.0
"""Where output is no terminal, a line so often at most."""
SHARE = 0.1
"""Part of the time that watching may keep the database busy."""
PATIENCE_S = 60.0
"""How long a database may be away, as while it is restarted."""


class Pace:
    """Jobs a second of each stage over the last minute of looking."""

    WINDOW_S = 60.0

    def __init__(self) -> None:
        self._seen: deque[tuple[float, Mapping[str, int]]] = deque()

    def add(self, at: float, stages: Mapping[str, Mapping[str, int]]) -> dict[str, float]:
        """Take in a look at a moment of a monotonic clock; the rates of stages whose jobs ended since the first look."""
        now = {stage: ended(states) for stage, states in stages.items()}
        self._seen.append((at, now))
        while at - self._seen[0][0] > self.WINDOW_S:
            self._seen.popleft()
        rates = {}
        for stage, n in now.items():
            first_at, first = next((then, seen[stage]) for then, seen in self._seen if stage in seen)
            if n > first and at > first_at:
                rates[stage] = (n - first) / (at - first_at)
        return rates


def watch_run(ledger: Ledger, results: Path, run_id: str) -> int:
    """Show a run until it ends, and return the exit code that carrying it here would have given. Raises `UsageError`."""
    pace, said = Pace(), facts(look(ledger, run_id), results)

    def once() -> tuple[list[str], str, bool]:
        nonlocal said
        found = look(ledger, run_id)
        said = facts(found, results, pace.add(time.monotonic(), found.stages))
        return list(describe(said)), _brief(found), said["state"] in runs.LIVE

    _watch(once)
    for line in describe(said):
        click.echo(line)
    with ledger.read() as tx:
        row = runs.get(tx, run_id)
    assert row is not None, run_id
    return exit_code(row["state"], row["exit_code"])


def watch_all(ledger: Ledger, results: Path) -> int:
    """Show all runs until none goes on."""

    def once() -> tuple[list[str], str, bool]:
        live = [row["run_id"] for row, _ in overview(ledger) if row["state"] in runs.LIVE]
        return list(list_progress(ledger, results)), f"{len(live)} runs go on", bool(live)

    _watch(once)
    for line in list_progress(ledger, results):
        click.echo(line)
    return 0


def follow_events(ledger: Ledger, run_id: str) -> None:
    """Print a run's events as they come, until it ends; those of no single run for ever. Raises `UsageError`."""
    seen = 0

    def once() -> tuple[Sequence[RowMapping], bool]:
        ended_ = bool(run_id) and look(ledger, run_id).row["state"] not in runs.LIVE  # before its last events are read
        return events_of(ledger, run_id, seen), ended_

    while True:
        rows, last = _patiently(once)
        for line in log_lines(rows):
            click.echo(line)
        if last:
            return
        seen = rows[-1]["event_id"] if rows else seen
        time.sleep(INTERVAL_S)


def exit_code(state: str, of_stopped: int) -> int:
    """The exit code that `autointerp run` would have had. A cancelled run counts as interrupted."""
    codes = {
        "done": 0,
        "withheld": WITHHELD_EXIT_CODE,
        "stopped": of_stopped,
        "cancelled": INTERRUPTED_EXIT_CODE,
        "failed": AutointerpError.exit_code,
    }
    return codes.get(state, 0)


def _watch(once: Callable[[], tuple[list[str], str, bool]]) -> None:
    """Look again and again, until told that nothing goes on; `once` gives lines for a terminal, and one for elsewhere."""
    console = Console(highlight=False)
    live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
    printed_at, printed = float("-inf"), ""
    with live or nullcontext():
        while True:
            started = time.monotonic()
            lines, brief, going = _patiently(once)
            if live:
                live.update(Text("\n".join(lines)), refresh=True)
            elif going and brief != printed and started - printed_at >= LINE_S:
                click.echo(brief)
                printed_at, printed = started, brief
            if not going:
                return
            time.sleep(max(INTERVAL_S, (time.monotonic() - started) / SHARE))


def _patiently(look_: Callable[[], T]) -> T:
    """What `look_` returns, tried again while the database does not answer. Raises its error after a minute."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return look_()
        except UsageError:
            raise
        except AutointerpError:
            if time.monotonic() > until:
                raise
            time.sleep(INTERVAL_S)


def _brief(found: Standing) -> str:
    row = found.row
    where = progress(found.stages)
    waiting = sum(states.get("waiting", 0) for states in found.stages.values())
    said = [f"{row['run_id']}: {row['state']}", where, f"{waiting:,} waiting" if waiting else ""]
    return ", ".join(part for part in [*said, f"${row['spent_usd']:.4f}"] if part)
