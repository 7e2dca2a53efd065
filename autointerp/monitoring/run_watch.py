"""Follows one run or all runs until they end: a display that is redrawn on a terminal, occasional lines elsewhere."""

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
from autointerp.formatting import dollars, plural
from autointerp.ledger import runs
from autointerp.ledger.database import Ledger
from autointerp.ledger.run_progress import RunProgress
from autointerp.monitoring.run_list import events_of, list_progress, log_lines, overview
from autointerp.monitoring.run_status import count_ended, current_stage, describe, read_progress, status_values

T = TypeVar("T")
INTERVAL_S = 1.0
LINE_S = 10.0
"""Shortest time between two lines if output is not a terminal."""
MAX_LOAD = 0.1
"""Largest share of the time that watching may keep the database busy."""
PATIENCE_S = 60.0
"""How long the database may be away, as during a restart."""


class RateMeter:
    """Jobs per second of each stage over the last minute of observations."""

    WINDOW_S = 60.0

    def __init__(self) -> None:
        self._seen: deque[tuple[float, Mapping[str, int]]] = deque()

    def add(self, at: float, stages: Mapping[str, Mapping[str, int]]) -> dict[str, float]:
        """Add an observation made at monotonic time `at`, and return the rates of stages in which jobs have ended since the first one."""
        now = {stage: count_ended(states) for stage, states in stages.items()}
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
    """Show a run until it ends, and return the exit code of `autointerp run`. Raises `UsageError` for an unknown run."""
    rates, status = RateMeter(), status_values(read_progress(ledger, run_id), results)

    def once() -> tuple[list[str], str, bool]:
        nonlocal status
        progress = read_progress(ledger, run_id)
        status = status_values(progress, results, rates.add(time.monotonic(), progress.stages))
        return list(describe(status)), _brief(progress), status["state"] in runs.LIVE

    _watch(once)
    for line in describe(status):
        click.echo(line)
    with ledger.read() as tx:
        row = runs.get(tx, run_id)
    assert row is not None, run_id
    return exit_code(row["state"], row["exit_code"])


def watch_all(ledger: Ledger, results: Path) -> int:
    """Show all runs until none is live."""

    def once() -> tuple[list[str], str, bool]:
        live = [row["run_id"] for row, _ in overview(ledger) if row["state"] in runs.LIVE]
        return list(list_progress(ledger, results)), f"{plural(len(live), 'run')} in progress", bool(live)

    _watch(once)
    for line in list_progress(ledger, results):
        click.echo(line)
    return 0


def follow_events(ledger: Ledger, run_id: str) -> None:
    """Print a run's events as they come, until it ends. With an empty `run_id` print those of the service, forever.

    Raises `UsageError` for an unknown run.
    """
    seen = 0

    def once() -> tuple[Sequence[RowMapping], bool]:
        # The state is read before the events, so that the last events of a run that has ended are not missed.
        has_ended = bool(run_id) and read_progress(ledger, run_id).row["state"] not in runs.LIVE
        return events_of(ledger, run_id, seen), has_ended

    while True:
        rows, last = _with_retry(once)
        for line in log_lines(rows):
            click.echo(line)
        if last:
            return
        seen = rows[-1]["event_id"] if rows else seen
        time.sleep(INTERVAL_S)


def exit_code(state: str, recorded: int) -> int:
    """The exit code of `autointerp run` for a run in `state`, and the `recorded` one of a run that was stopped or has a failed study.

    A cancelled run counts as interrupted.
    """
    codes = {
        "done": recorded,
        "withheld": recorded or WITHHELD_EXIT_CODE,
        "stopped": recorded,
        "cancelled": INTERRUPTED_EXIT_CODE,
        "failed": AutointerpError.exit_code,
    }
    return codes.get(state, 0)


def _watch(once: Callable[[], tuple[list[str], str, bool]]) -> None:
    """Call `once` until it reports that nothing is live. It returns lines for a terminal, one line for elsewhere, and whether to go on."""
    console = Console(highlight=False)
    live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
    printed_at, printed = float("-inf"), ""
    with live or nullcontext():
        while True:
            started = time.monotonic()
            lines, brief, is_live = _with_retry(once)
            if live:
                live.update(Text("\n".join(lines)), refresh=True)
            elif is_live and brief != printed and started - printed_at >= LINE_S:
                click.echo(brief)
                printed_at, printed = started, brief
            if not is_live:
                return
            time.sleep(max(INTERVAL_S, (time.monotonic() - started) / MAX_LOAD))


def _with_retry(read: Callable[[], T]) -> T:
    """The result of `read`, repeated while the database does not answer. Raises its error after `PATIENCE_S`."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return read()
        except UsageError:
            raise
        except AutointerpError:
            if time.monotonic() > until:
                raise
            time.sleep(INTERVAL_S)


def _brief(progress: RunProgress) -> str:
    row = progress.row
    waiting = sum(states.get("waiting", 0) for states in progress.stages.values())
    parts = [
        f"{row['run_id']}: {row['state']}",
        current_stage(progress.stages),
        f"{waiting:,} waiting" if waiting else "",
    ]
    return ", ".join(part for part in [*parts, dollars(row["spent_usd"])] if part)
