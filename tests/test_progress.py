"""Progress where there is no terminal: plain lines that say how far, how long, and what it cost."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable

import pytest
from support.terminal import terminal

from autointerp.progress import Progress


def test_plain_lines_name_the_phase_the_count_and_the_cost(capfd: pytest.CaptureFixture[str]) -> None:
    with Progress() as progress:
        progress.update("loading", 0, 0)
        for done in range(0, 2001, 500):
            progress.update("score", done, 2000, spent_usd=0.25)
        progress.note("[not markup] a note")
        progress.update("score", 2000, 2000, spent_usd=0.25)
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 4, "the end of a phase is said once"
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


def on_a_terminal(columns: int, monkeypatch: pytest.MonkeyPatch, show: Callable[[Progress], None]) -> list[str]:
    """The lines of a terminal on which `show` has used a progress display, with stdout and stderr on that terminal."""
    with terminal(columns) as tty, open(tty.path, "w", encoding="utf-8") as device, monkeypatch.context() as patch:
        patch.setenv("TERM", "xterm-256color")
        patch.setenv("COLUMNS", str(columns))
        patch.setattr(sys, "stdout", device)
        patch.setattr(sys, "stderr", device)
        with Progress() as progress:
            show(progress)
        tty.settle()
        return tty.lines()


@pytest.mark.parametrize("columns", [80, 140])
def test_what_is_said_among_bars_stays_on_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def show(progress: Progress) -> None:
        for phase in ("loading the dictionary", "loading the subject", "harvesting"):
            progress.update(phase, 0, 0)
        progress.say("run a-1\n  score   400 calls, about $1.20")
        progress.update("score", 3, 10, spent_usd=1.5)
        progress.note("a note")
        progress.say("autointerp: b.toml: not submitted", err=True)
        progress.update("score", 10, 10, spent_usd=2.5)

    lines = on_a_terminal(columns, monkeypatch, show)
    said = ["run a-1", "  score   400 calls, about $1.20", "a note", "autointerp: b.toml: not submitted"]
    assert [line for line in lines if line in said] == said
    bars = [line for line in lines if "━" in line]
    assert [bar.split("━")[0].strip() for bar in bars] == [
        "loading the dictionary", "loading the subject", "harvesting", "score",
    ]  # fmt: skip
    assert "10 of 10" in bars[-1]
    assert "$2.50" in bars[-1]


def test_a_message_is_a_line_and_leaves_the_phase_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    message = "shard 3: its checkpoint is damaged: reading it all"

    def show(progress: Progress) -> None:
        progress.update("harvesting", 5, 10)
        progress.update(message, 0, 0)
        progress.update("harvesting", 10, 10)

    said, bar = (line for line in on_a_terminal(80, monkeypatch, show) if line)
    assert said == message
    assert "10 of 10" in bar


def test_a_note_is_broken_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "the dictionary explains 75% of the variance and recovers 97% of the loss, with 8.5 active features per token"
    )
    first, second = (line for line in on_a_terminal(80, monkeypatch, lambda progress: progress.note(text)) if line)
    assert (first, second) == (text[: text.index(" 8.5")], text[text.index("8.5") :])


@pytest.mark.parametrize("columns", [24, 40, 59])
def test_a_sentence_of_a_result_is_broken_between_words(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "feature-641 [bold] carries the answer :smile: to 3 of 4 prompts: ablating it lowers the probability by 0.31 (0.20 to 0.42)."
    lines = [line for line in on_a_terminal(columns, monkeypatch, lambda progress: progress.say_sentence(text)) if line]
    assert " ".join(lines) == text
    assert len(lines) >= len(text) / columns


def test_a_sentence_is_one_line_without_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with Progress(quiet=True) as progress:
        progress.say_sentence("a sentence of a result " * 20 + "[red]")
    assert capfd.readouterr().out == "a sentence of a result " * 20 + "[red]\n"


@pytest.mark.parametrize("columns", [80, 140])
def test_a_bar_fits_its_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def show(progress: Progress) -> None:
        for done in (0, 12_345_678, 99_999_000):
            progress.update("reading the subject's configuration", done, 100_000_000, spent_usd=1234.5)
            time.sleep(0.3)

    lines = [line for line in on_a_terminal(columns, monkeypatch, show) if line]
    assert len(lines) == 1
    assert "99,999,000 of 100,000,000" in lines[0]
    assert "$1,234.50" in lines[0]


def test_the_clock_of_a_phase_stops_when_the_next_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    def show(progress: Progress) -> None:
        progress.update("loading the subject", 0, 0)
        progress.update("reading the corpus", 400, 1000)
        progress.update("score", 0, 10)
        time.sleep(1.3)
        progress.update("score", 10, 10)

    loading, reading, score = (line for line in on_a_terminal(140, monkeypatch, show) if line)
    assert "0:00:00" in loading
    assert "0:00:00" in reading
    assert "0:00:01" in score
    assert "left" not in reading


def test_the_bar_of_a_stopped_phase_stays_as_it_is_without_a_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def show(progress: Progress) -> None:
        progress.update("score", 0, 10)
        progress.update("score", 5, 10)
        progress.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)

    (score,) = (line for line in on_a_terminal(80, monkeypatch, show) if line)
    assert "5 of 10" in score
    assert "left" not in score


def test_a_phase_that_comes_again_goes_on_in_its_own_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    def show(progress: Progress) -> None:
        for _ in range(3):
            progress.update("loading the subject", 0, 0)
            progress.update("score", 5, 10)
        progress.update("score", 10, 10)

    loading, score = (line for line in on_a_terminal(80, monkeypatch, show) if line)
    assert loading.startswith("loading the subject")
    assert "10 of 10" in score
