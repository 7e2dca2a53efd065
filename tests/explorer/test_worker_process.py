"""Processes beside the explorer are read to their end, and their end is told in one line."""

from __future__ import annotations

import signal
from pathlib import Path
from tempfile import TemporaryFile

import pytest

from autointerp.explorer import worker_process

TALKATIVE = """
import sys
sys.stderr.write("a warning\\n" * 100_000)
print(sys.argv[1], flush=True)
sys.exit("no memory is left")
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "talkative.py").write_text(TALKATIVE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "talkative"


def test_a_process_with_many_warnings_is_not_held_up_and_its_last_line_is_told(module: str) -> None:
    with TemporaryFile() as complaints:
        with worker_process.started(module, "done", complaints=complaints) as process:
            assert process.stdout is not None
            assert process.stdout.read() == "done\n"
        assert worker_process.ending(process.returncode, complaints) == (
            "its process has ended with exit code 1 (no memory is left)"
        )


def test_a_signal_is_told_without_what_was_written_before(module: str) -> None:
    with TemporaryFile() as complaints:
        complaints.write(b"a warning\n")
        assert worker_process.ending(-signal.SIGKILL, complaints) == "its process was ended by signal 9"
