"""Progress where there is no terminal: plain lines that say how far, how long, and what it cost."""

from __future__ import annotations

import re

import pytest

from autointerp.progress import Progress


def test_plain_lines_name_the_phase_the_count_and_the_cost(capfd: pytest.CaptureFixture[str]) -> None:
    with Progress() as progress:
        progress.update("loading", 0, 0)
        for done in range(0, 2001, 500):
            progress.update("score", done, 2000, spent_usd=0.25)
        progress.note("[not markup] a note")
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == "loading"
    assert lines[1].startswith("score  0 of 2,000")
    assert "2,000 of 2,000" in lines[-2]
    assert "$0.2500" in lines[-2]
    assert lines[-1] == "[not markup] a note"


def test_the_time_left_counts_only_work_of_this_session(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 10_000, 20))
    monkeypatch.setattr("autointerp.progress.time.monotonic", lambda: float(next(clock)))
    with Progress() as progress:
        progress.update("score", 900, 1000)
        progress.update("score", 950, 1000)
    first, second = capfd.readouterr().err.splitlines()
    assert first == "score  900 of 1,000"
    elapsed, left = (int(number) for number in re.findall(r"(\d+) s", second))
    assert left == elapsed


def test_quiet_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with Progress(quiet=True) as progress:
        progress.update("score", 1, 2)
        progress.note("a note")
    assert capfd.readouterr() == ("", "")
