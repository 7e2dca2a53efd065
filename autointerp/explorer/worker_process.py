"""Processes beside the explorer, each of which runs one of the program's modules: how they are started, and how they have ended."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from typing import IO

from sae.errors import one_line


def started(module: str, *arguments: str, complaints: IO[bytes]) -> subprocess.Popen[str]:
    """A process that runs a module, with pipes of text to its input and from its output.

    It has a session of its own, so that Ctrl-C in the terminal reaches the explorer alone: it is to end with its input. Its error output
    goes to the file `complaints`, because a pipe that nobody reads fills up.
    """
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints,
        start_new_session=True, text=True, encoding="utf-8",
    )  # fmt: skip


def ending(code: int, complaints: IO[bytes]) -> str:
    """How a process has ended, with the last line of its error output if it failed by itself."""
    how = f"was ended by signal {-code}" if code < 0 else f"has ended with exit code {code}"
    last = ""
    with suppress(OSError, ValueError):
        complaints.seek(0)
        lines = complaints.read().decode("utf-8", "replace").split("\n")
        last = next((one_line(ValueError(line)) for line in reversed(lines) if code > 0 and line.strip()), "")
    return f"its process {how}" + (f" ({last})" if last else "")
