"""Progress bars on a terminal: phase, items done, rate, cost and time left.

If output is not a terminal, a plain line is printed every few seconds instead.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

from autointerp.formatting import dollars

INTERVAL_S = 0.25
PLAIN_INTERVAL_S = 10.0


class Progress:
    """One bar per phase, on stderr. Use as a context manager; `quiet` shows nothing."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self._bars = Bars(
            TextColumn("{task.description:<22}"),
            BarColumn(bar_width=28),
            TextColumn("{task.fields[count]:>24}"),
            _Rate("{task.description}"),
            TimeElapsedColumn(),
            _TimeLeft(compact=True),
            TextColumn("{task.fields[spent]}"),
            console=self.console,
            disable=quiet or not self.console.is_terminal,
        )
        self._plain = not quiet and not self.console.is_terminal
        self._tasks: dict[str, TaskID] = {}
        self._shown = self._printed = 0.0
        self._started: dict[str, tuple[float, int]] = {}
        """When each phase was first shown, and how much was done by then: work of an earlier session must not count for the rate."""

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def update(self, phase: str, done: int, total: int, *, spent_usd: float | None = None) -> None:
        """Show that `done` of `total` items of a phase are done; 0 means that the total is unknown."""
        spent = dollars(spent_usd) if spent_usd else ""
        count = f"{done:,} of {total:,}" if total else ""
        new = phase not in self._tasks
        if new:
            self._tasks[phase] = self._bars.add_task(phase, total=total or None, spent=spent, count=count)
            self._started[phase] = time.monotonic(), done
        finished = bool(total) and done >= total
        self._bars.update(self._tasks[phase], completed=done, total=total or None, spent=spent, count=count)
        self._shown = time.monotonic()
        if self._plain and (new or finished or self._shown - self._printed > PLAIN_INTERVAL_S):
            self._printed = self._shown
            self.console.print(self._line(phase, count, done, total, spent))

    def wants_update(self) -> bool:
        """Whether the last update is old enough for another one to be worth a query."""
        return time.monotonic() - self._shown > INTERVAL_S

    def note(self, text: str) -> None:
        """Print a line above the bars."""
        self._bars.console.print(text, markup=False, soft_wrap=True)

    def _line(self, phase: str, count: str, done: int, total: int, spent: str) -> str:
        at, before = self._started[phase]
        elapsed = time.monotonic() - at
        parts = [phase, count, f"{elapsed:.0f} s" if done > before else "", spent]
        if before < done < total:
            parts.append(f"about {elapsed / (done - before) * (total - done):.0f} s left")
        return "  ".join(part for part in parts if part)


class _Rate(TextColumn):
    """Items per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f}/s" if task.speed else "", style="progress.data.speed")


class _TimeLeft(TimeRemainingColumn):
    """The time left, if it can be estimated."""

    def render(self, task: Task) -> Text:
        if not task.total or task.finished:
            return Text("")
        return super().render(task).append(" left")


OnProgress = Callable[[str, int, int], None]
"""A progress callback: phase, items done, total (0 if unknown)."""


def quiet(phase: str, done: int, total: int) -> None:
    """A progress callback that does nothing."""
