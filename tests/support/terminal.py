"""A terminal of a given size, and the text that it shows: a pseudo-terminal, and the few controls that `rich` writes."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_CONTROL = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|\x1b\](.*?)(?:\x1b\\|\x07)")


class Terminal:
    """A terminal whose `path` a process can open. `lines()` is all that it shows, what has scrolled away included."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self._main, self._device = pty.openpty()
        fcntl.ioctl(self._device, termios.TIOCSWINSZ, struct.pack("HHHH", 60, columns, 0, 0))
        self.path = os.ttyname(self._device)
        self._written = b""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            try:
                self._written += os.read(self._main, 65536)
            except OSError:  # closed
                return

    def type(self, text: str) -> None:
        """Press these keys."""
        os.write(self._main, text.encode())

    def wait_for(self, text: str, seconds: float = 60.0) -> None:
        """Wait until the screen shows a text. Raises `AssertionError` if it does not."""
        until = time.monotonic() + seconds
        while not any(text in line for line in self.lines()):
            assert time.monotonic() < until, "\n".join(self.lines())
            time.sleep(0.02)

    def settle(self) -> None:
        """Wait until nothing more comes."""
        before = None
        while before != self._written:
            before = self._written
            time.sleep(0.1)

    @property
    def raw(self) -> str:
        """All that was written, controls included."""
        return self._written.decode("utf-8", "replace")

    def lines(self) -> list[str]:
        """The lines shown, without colours and trailing spaces. A text that is wider than the terminal is wrapped."""
        return shown(self.raw, self.columns)

    def close(self) -> None:
        """Close both ends."""
        os.close(self._device)
        os.close(self._main)


@contextmanager
def terminal(columns: int) -> Iterator[Terminal]:
    """A terminal, closed at the end."""
    opened = Terminal(columns)
    try:
        yield opened
    finally:
        opened.close()


def shown(text: str, columns: int) -> list[str]:
    """The lines that a terminal of this width shows after `text` was written to it."""
    screen: list[list[str]] = [[]]
    row = column = at = 0

    def put(character: str) -> None:
        nonlocal row, column
        if column >= columns:
            row, column = row + 1, 0
        while len(screen) <= row:
            screen.append([])
        line = screen[row]
        line.extend(" " * (column + 1 - len(line)))
        line[column] = character
        column += 1

    while at < len(text):
        if control := _CONTROL.match(text, at):
            at = control.end()
            count = int(control[1]) if (control[1] or "").isdigit() else 1
            match control[2]:
                case "A":
                    row = max(0, row - count)
                case "K" if row < len(screen):
                    del screen[row][0 if count == 2 else column :]
                case "G":
                    column = count - 1
            continue
        character, at = text[at], at + 1
        if character == "\n":
            row += 1
        elif character == "\r":
            column = 0
        elif character.isprintable():
            put(character)
    return ["".join(line).rstrip() for line in screen]
