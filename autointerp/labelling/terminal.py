"""Labelling in a terminal, with one key per grade, for machines that can only be reached by ssh."""

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

PREVIOUS, NEXT = ("\x1b[D", "\x1bOD"), ("\x1b[C", "\x1bOC")
UNDO, SKIP, QUIT = ("u", "\x7f", "\x08"), ("s",), ("q", "\x04")
_KEY = re.compile(r"\x1b[\[O].|.", re.DOTALL)
KEYS = "s skip   u undo   \u2190 \u2192 previous, next   q quit"


class Terminal:
    """One rater at one terminal. Every label is in the ledger before the next item is shown."""

    def __init__(self, sheet: Sheet, console: Console) -> None:
        self.sheet, self.console = sheet, console
        self.labels = {number: label.score for number, label in sheet.labels().items()}
        self.past: list[tuple[int, bool, int | None]] = [(number, False, None) for number in self.labels]
        """What undo restores, the latest last: an item number, whether the item had a label before, and its score then."""
        self.at = self._next_unlabelled(0)

    def run(self, keys: Iterable[str]) -> None:
        """Show items and handle keys until q, or until a at the end, which shows the agreement with the judge."""
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
        """Handle one key. Keys without a meaning are ignored."""
        items, at_end = self.sheet.items, self.at >= len(self.sheet.items)
        if key in UNDO and self.past:
            number, had_label, before = self.past.pop()
            self._set(number, before) if had_label else self._remove(number)
            self.at = next(place for place, item in enumerate(items) if item.number == number)
        elif key in PREVIOUS:
            self.at = max(0, self.at - 1)
        elif key in NEXT:
            last = len(items) if len(self.labels) == len(items) else len(items) - 1
            self.at = min(last, self.at + 1)
        elif not at_end and (key in SKIP or (key.isascii() and key.isdigit() and int(key) < len(self.sheet.levels))):
            number = items[self.at].number
            self.past.append((number, number in self.labels, self.labels.get(number)))
            self._set(number, None if key in SKIP else int(key))
            self.at = self._next_unlabelled(self.at + 1)

    def _set(self, number: int, score: int | None) -> None:
        self.sheet.set({number: score})
        self.labels[number] = score

    def _remove(self, number: int) -> None:
        self.sheet.undo(number)
        self.labels.pop(number, None)

    def _next_unlabelled(self, start: int) -> int:
        """The place of the first item without a label from `start` on, starting over at the end; the number of items if there is none."""
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
        self.console.print(Text(f"Item {self.at + 1} of {n}   {len(self.labels)} done", style="dim"))
        self.console.print(Text.assemble("\n", (item.explanation, "bold"), "\n"))
        self.console.print(Text.assemble(item.before, (item.marked, "reverse"), item.after, "\n"))
        for grade, level in enumerate(self.sheet.levels):
            chosen = item.number in self.labels and self.labels[item.number] == grade
            self.console.print(Text(f"{'>' if chosen else ' '} {grade}  {level}", style="bold" if chosen else ""))
        skipped = item.number in self.labels and self.labels[item.number] is None
        self.console.print(Text(f"\n{'skipped   ' if skipped else ''}{KEYS}", style="dim"))

    def _show_end(self) -> None:
        self.console.clear()
        n_skipped = sum(score is None for score in self.labels.values())
        self.console.print(Text(f"{len(self.labels) - n_skipped} items graded, {n_skipped} skipped.\n"))
        self.console.print(
            Text("a  show the agreement with the judge, and quit\nu undo   \u2190 previous   q quit", style="dim")
        )

    def _show_agreement(self) -> None:
        agreement = self.sheet.agreement()
        if agreement is None or not agreement.n:
            self.console.print(Text("No item has a grade, so there is nothing to compare."))
            return
        self.console.print(
            Text(
                f"Of {agreement.n} graded items, the judge gave the same grade to {agreement.exact} and a grade at most one level"
                f" apart to {agreement.within_one}."
            )
        )


def label(sheet: Sheet) -> None:
    """Label the sheet's items in this terminal. Raises `UsageError` if there is no terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "--terminal needs a terminal, and there is none here: leave it out to use the web page, or use --export"
        )
    with suppress(KeyboardInterrupt), _pressed(sys.stdin.fileno()) as keys:
        Terminal(sheet, Console(highlight=False)).run(keys)


@contextmanager
def _pressed(terminal: int) -> Iterator[Iterator[str]]:
    """Keys as they are pressed, including those typed before the screen is ready. The terminal is restored afterwards."""
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal, termios.TCSANOW)
        typed = iter(lambda: os.read(terminal, 1024).decode("utf-8", "replace"), "")
        yield (key for some in typed for key in _KEY.findall(some))
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, before)
