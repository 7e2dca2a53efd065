"""The same sheet in a terminal, a key a grade: for machines that are reached by ssh alone."""

from __future__ import annotations

import os
import re
import sys
import termios
import tty
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.text import Text

from autointerp.errors import UsageError
from autointerp.labelling.sheet import Item, Sheet

BACK, FORTH = ("\x1b[D", "\x1bOD"), ("\x1b[C", "\x1bOC")
UNDO, PASS, QUIT = ("u", "\x7f", "\x08"), ("s",), ("q", "\x04")
_KEY = re.compile(r"\x1b[\[O].|.", re.DOTALL)
KEYS = "s pass over   u undo   \u2190 \u2192 back and forth   q quit"


class Terminal:
    """One rater at one terminal. Every press is in the ledger before the next item is shown."""

    def __init__(self, sheet: Sheet, console: Console) -> None:
        self.sheet, self.console = sheet, console
        self.labels = {number: label.score for number, label in sheet.labels().items()}
        self.past: list[tuple[int, bool, int | None]] = [(number, False, None) for number in self.labels]
        """What undo takes back: a number, and what was said of it before, if anything."""
        self.at = self._next_open(0)

    def run(self, keys: Iterable[str]) -> None:
        """Show items and take keys until q, or until all is decided and the agreement was asked for."""
        self._show()
        for key in keys:
            if key in QUIT:
                return
            if key == "a" and self.at >= len(self.sheet.items):
                self._show_agreement()
                return
            self.press(key)
            self._show()

    def press(self, key: str) -> None:
        """What one key does; one that means nothing does nothing."""
        items, done = self.sheet.items, self.at >= len(self.sheet.items)
        if key in UNDO and self.past:
            number, was_said, before = self.past.pop()
            self._say(number, before) if was_said else self._take_back(number)
            self.at = next(place for place, item in enumerate(items) if item.number == number)
        elif key in BACK:
            self.at = max(0, self.at - 1)
        elif key in FORTH:
            last = len(items) if len(self.labels) == len(items) else len(items) - 1
            self.at = min(last, self.at + 1)
        elif not done and (key in PASS or (key.isascii() and key.isdigit() and int(key) < len(self.sheet.levels))):
            number = items[self.at].number
            self.past.append((number, number in self.labels, self.labels.get(number)))
            self._say(number, None if key in PASS else int(key))
            self.at = self._next_open(self.at + 1)

    def _say(self, number: int, score: int | None) -> None:
        self.sheet.set({number: score})
        self.labels[number] = score

    def _take_back(self, number: int) -> None:
        self.sheet.undo(number)
        self.labels.pop(number, None)

    def _next_open(self, start: int) -> int:
        n = len(self.sheet.items)
        places = ((start + i) % n for i in range(n))
        return next((place for place in places if self.sheet.items[place].number not in self.labels), n)

    def _show(self) -> None:
        if self.at < len(self.sheet.items):
            self._show_item(self.sheet.items[self.at])
        else:
            self._show_end()

    def _show_item(self, item: Item) -> None:
        n = len(self.sheet.items)
        self.console.clear()
        self.console.print(Text(f"Item {self.at + 1} of {n}   {len(self.labels)} decided", style="dim"))
        self.console.print(Text.assemble("\n", (item.explanation, "bold"), "\n"))
        self.console.print(Text.assemble(item.before, (item.marked, "reverse"), item.after, "\n"))
        for grade, level in enumerate(self.sheet.levels):
            chosen = item.number in self.labels and self.labels[item.number] == grade
            self.console.print(Text(f"{'>' if chosen else ' '} {grade}  {level}", style="bold" if chosen else ""))
        passed = item.number in self.labels and self.labels[item.number] is None
        self.console.print(Text(f"\n{'passed over   ' if passed else ''}{KEYS}", style="dim"))

    def _show_end(self) -> None:
        self.console.clear()
        passed = sum(score is None for score in self.labels.values())
        self.console.print(Text(f"{len(self.labels) - passed} items graded, {passed} passed over.\n"))
        self.console.print(
            Text("a  show how often the judge agrees, and end\nu undo   \u2190 back   q quit", style="dim")
        )

    def _show_agreement(self) -> None:
        found = self.sheet.agreement()
        if found is None or not found.n:
            self.console.print(Text("No item is graded: there is nothing to compare."))
            return
        said = f"the same grade for {found.exact}, and one at most one away for {found.within_one}"
        self.console.print(Text(f"Of {found.n} graded items the judge gave {said}."))


def label(sheet: Sheet) -> None:
    """Take labels in this terminal. Raises `UsageError` where there is none."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("--terminal needs a terminal, and this is none: leave it out for the page, or use --export")
    with suppress(KeyboardInterrupt), _pressed(sys.stdin.fileno()) as keys:
        Terminal(sheet, Console(highlight=False)).run(keys)


@contextmanager
def _pressed(terminal: int) -> Iterator[Iterator[str]]:
    """Keys as they are pressed; what is typed ahead of the screen is kept. The terminal is left as it was."""
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal, termios.TCSANOW)
        typed = iter(lambda: os.read(terminal, 1024).decode("utf-8", "replace"), "")
        yield (key for some in typed for key in _KEY.findall(some))
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, before)
