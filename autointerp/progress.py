"""Progress bars on a terminal: phase, items done, rate, cost and time left.

If output is not a terminal, a plain line is printed every few seconds instead.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.style import Style
from rich.table import Column
from rich.text import Text

from autointerp.formatting import dollars

INTERVAL_S = 0.25
PLAIN_INTERVAL_S = 10.0
PHASE_COLUMNS = 26
"""Columns of a phase's name at most. A longer text without a total is a message."""
WIDE_COLUMNS = 116
"""Terminals of this width show the rate, and both the time taken and the time left."""
OTHER_COLUMNS = 68
"""Columns of a narrow terminal that are not the bar's."""


class Progress:
    """One bar per phase, on stderr. Use as a context manager; `quiet` shows nothing.

    Phases follow one another: the clock of a phase stops when another begins, and a phase of unknown length has then ended.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        has_bars = not quiet and self.console.is_interactive
        self._bars = self._new_bars(disable=not has_bars)
        self._plain = not quiet and not has_bars
        self._tasks: dict[str, Task] = {}
        self._phase = ""
        """The current phase."""
        self._shown = self._printed = 0.0
        self._ended = ""
        """The phase whose last plain line said that it is finished."""
        self._started: dict[str, tuple[float, int]] = {}
        """When each phase was first shown, and how much was done by then: work of an earlier session must not count for the rate."""

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.end()
        elif task := self._tasks.get(self._phase):
            self._bars.stop_task(task.id)
        self._bars.stop()

    def end(self) -> None:
        """End the display: what is printed from now on stands below the bars."""
        self._enter_phase("")
        self._bars.stop()

    def update(self, phase: str, done: int, total: int, *, spent_usd: float | None = None) -> None:
        """Show that `done` of `total` items of a phase are done; 0 means that the total is unknown.

        A message, which is longer than the names of phases, is printed as a line.
        """
        if not total and len(phase) > PHASE_COLUMNS:
            self.note(phase)
            return
        spent = dollars(spent_usd) if spent_usd else ""
        count = f"{done:,} of {total:,}" if total else ""
        new = phase not in self._tasks
        if new:
            task_id = self._bars.add_task(phase, total=total or None, spent=spent, count=count)
            self._tasks[phase] = next(task for task in self._bars.tasks if task.id == task_id)
            self._started[phase] = time.monotonic(), done
        self._enter_phase(phase)
        finished = bool(total) and done >= total
        self._bars.update(self._tasks[phase].id, completed=done, total=total or None, spent=spent, count=count)
        self._shown = time.monotonic()
        said = finished and self._ended == phase
        if self._plain and not said and (new or finished or self._shown - self._printed > PLAIN_INTERVAL_S):
            self._printed, self._ended = self._shown, phase if finished else ""
            self.console.print(self._line(phase, count, done, total, spent))

    def wants_update(self) -> bool:
        """Whether the last update is old enough for another one to be worth a query."""
        return time.monotonic() - self._shown > INTERVAL_S

    def note(self, text: str) -> None:
        """Print a line on stderr, above the bars; on a terminal it is broken between words."""
        self._bars.console.print(text, markup=False, soft_wrap=not self.console.is_terminal)

    def confirm(self, question: str) -> bool | None:
        """Ask a yes-or-no question below the bars, which go on in a new display; None if no person can answer it."""
        if not (sys.stdin.isatty() and self.console.is_terminal):
            return None
        self.end()
        try:
            agreed = click.confirm(question, err=True)
        except click.Abort:
            raise KeyboardInterrupt from None
        self._bars, self._tasks = self._new_bars(disable=self._bars.disable), {}
        self._bars.start()
        return agreed

    def say(self, text: str, *, err: bool = False) -> None:
        """Print a result on stdout, or an error on stderr, even if `quiet`: above the bars, if it goes to their terminal."""
        stream = sys.stderr if err else sys.stdout
        if self._bars.live.is_started and stream.isatty():
            self._bars.console.print(text, markup=False, soft_wrap=True)  # a path stays one word to copy
        else:
            print(text, file=stream, flush=True)

    def say_sentence(self, text: str) -> None:
        """Print a result in words on stdout; on a terminal it is broken between words."""
        Console(highlight=False).print(Text(text), soft_wrap=not sys.stdout.isatty())

    def say_path(self, text: str, path: Path) -> None:
        """Print a result that ends with a file's path on stdout: a link (OSC 8) if stdout is a terminal that knows links."""
        link = Text(str(path), Style(link=path.absolute().as_uri()))
        Console(highlight=False).print(Text.assemble(text, " ", link), soft_wrap=True)

    def _new_bars(self, *, disable: bool) -> Bars:
        columns = _columns(self.console.width)
        return Bars(*columns, console=self.console, disable=disable, redirect_stdout=sys.stdout.isatty())

    def _enter_phase(self, phase: str) -> None:
        """Stop the clock of the current phase, if it is another one, and start that of `phase` again if it was stopped."""
        if phase == self._phase:
            return
        if before := self._tasks.get(self._phase):
            if before.total is None:
                self._bars.update(before.id, completed=1, total=1)
            self._bars.stop_task(before.id)
        if (task := self._tasks.get(phase)) and task.stop_time is not None:
            task.stop_time = task.finished_time = None
            if not task.fields["count"]:
                task.total = None
        self._phase = phase

    def _line(self, phase: str, count: str, done: int, total: int, spent: str) -> str:
        at, before = self._started[phase]
        elapsed = time.monotonic() - at
        parts = [phase, count, f"{elapsed:.0f} s" if done > before else "", spent]
        if before < done < total:
            parts.append(f"about {elapsed / (done - before) * (total - done):.0f} s left")
        return "  ".join(part for part in parts if part)


def _columns(width: int) -> list[ProgressColumn]:
    """The columns of the bars on a terminal of this width, at least 76; a narrower one cuts them."""

    def fixed(n: int | None = None) -> Column:
        return Column(no_wrap=True, overflow="ellipsis", min_width=n, max_width=n)

    phase = TextColumn("{task.description}", table_column=fixed(PHASE_COLUMNS), markup=False)
    count = TextColumn("{task.fields[count]:>20}", table_column=fixed())
    spent = TextColumn("{task.fields[spent]}", table_column=fixed())
    bar = BarColumn(bar_width=max(8, min(28, width - OTHER_COLUMNS)))
    if width < WIDE_COLUMNS:
        return [phase, bar, count, _TimeLeftOrTaken(compact=True, table_column=fixed()), spent]
    return [phase, bar, count, _Rate(""), TimeElapsedColumn(), _TimeLeft(compact=True), spent]


class _Rate(TextColumn):
    """Items per second, or per minute if they are few."""

    def render(self, task: Task) -> Text:
        speed = task.speed or 0.0
        text = f"{speed:,.0f}/s" if speed >= 1 else f"{60 * speed:,.0f}/min"
        return Text(text if speed else "", style="progress.data.speed")


class _TimeLeft(TimeRemainingColumn):
    """The time left, if it can be estimated."""

    def render(self, task: Task) -> Text:
        if not task.total or task.finished or task.stop_time is not None:
            return Text("")
        return super().render(task).append(" left")


class _TimeLeftOrTaken(_TimeLeft):
    """The time left, or the time taken if none is left or it is unknown."""

    def render(self, task: Task) -> Text:
        return super().render(task) or _TAKEN.render(task)


_TAKEN = TimeElapsedColumn()


OnProgress = Callable[[str, int, int], None]
"""A progress callback: phase, items done, total (0 if unknown). A phase's name has at most `PHASE_COLUMNS` characters; a message has more."""


def quiet(phase: str, done: int, total: int) -> None:
    """A progress callback that does nothing."""
