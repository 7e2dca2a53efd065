"""The command line on a terminal: what it prints among its progress bars, asks and links."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from support.planted_world import runs as planted_runs
from support.planted_world import world as planted
from support.planted_world.provider_replies import think_apart
from support.providers.server import ProviderServer
from support.services import run_process
from support.terminal import Terminal, terminal

from autointerp.cli.main import main

FEW = {"feature_ids": list(range(3)), "neuron_ids": ["0+", "1+"]}
JUDGED = {"model": "anthropic/claude-haiku-4-5", "base_url": "http://127.0.0.1:9", "key_env": "ANTHROPIC_API_KEY"}
Start = Callable[..., tuple[Terminal, Callable[..., int | None]]]
STAGES = ("loading the subject", "harvesting", "reading random", "score", "writing")
"""Beginnings of the phases of a run in which it is interrupted, in their order."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    return planted.make(tmp_path_factory.mktemp("world"), documents=60)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a command on a terminal of some width; returned are the terminal, and a function that waits for the exit code."""
    with ExitStack() as stack:

        def command(*words: str | Path, columns: int = 80) -> tuple[Terminal, Callable[..., int | None]]:
            tty = stack.enter_context(terminal(columns))
            results = ["--results", str(tmp_path / "results")]
            environment = planted_runs.environment(tmp_path / "cache") | {"TERM": "xterm-256color"}
            for name in ("COLUMNS", "LINES", "NO_COLOR", "CI"):
                environment.pop(name, None)
            process = run_process.start_command([*map(str, words), *results], environment, tty.path)
            stack.callback(process.join)
            stack.callback(process.kill)

            def ended(stage: str | None = None, presses: int = 1) -> int | None:
                """The exit code; with a stage, after Ctrl-C in it, or later if it is over before anyone can press keys."""
                while stage and process.is_alive() and stage not in tty.raw:
                    time.sleep(0.01)
                for press in range(presses if stage else 0):
                    if process.is_alive() and process.pid:
                        time.sleep(0.5 * press)
                        os.kill(process.pid, signal.SIGINT)
                process.join(300)
                tty.settle()
                return process.exitcode

            return tty, ended

        yield command


def write_spec(world: planted.World, path: Path, **sections: dict[str, object]) -> Path:
    path.write_text(world.spec(units=FEW, **sections).to_toml(), encoding="utf-8")
    return path


@pytest.mark.parametrize("columns", [80, pytest.param(140, marks=pytest.mark.slow)])
def test_a_dry_run_shows_its_forecast_below_complete_bars(
    world: planted.World, start: Start, tmp_path: Path, columns: int
) -> None:
    spec = write_spec(world, tmp_path / "mine.toml", judge=JUDGED)
    tty, ended = start("run", spec, "--dry-run", columns=columns)
    assert ended() == 0
    lines = [line for line in tty.lines() if line]
    told = [
        line.split()[0] for line in lines if line.startswith(("run planted-", "  explain ", "  score ", "  in all "))
    ]
    assert told == ["run", "explain", "score", "in"]
    bars = [line for line in lines if "━" in line]
    phases = [bar.split("━")[0].strip() for bar in bars]
    assert {"loading the dictionary", "loading the subject", "reading the corpus", "harvesting"} <= set(phases)
    assert len(phases) == len(set(phases))
    assert [bar for bar in bars if "left" in bar or "…" in bar] == []
    assert max(map(len, bars)) <= columns


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ctrl_c_in_any_stage_says_how_to_continue_and_changes_no_result(
    world: planted.World, start: Start, tmp_path: Path
) -> None:
    controls = {"random_dictionary": True, "random_subject": True}
    spec = write_spec(world, tmp_path / "mine.toml", controls=controls)
    codes = []
    for stage in STAGES:
        tty, ended = start("run", spec)
        codes.append(ended(stage))
        lines = [line for line in tty.lines() if line]
        assert "Traceback" not in tty.raw
        assert max(map(len, lines)) <= 80
        if codes[-1] == 130:
            assert "".join(lines[-2:]).endswith("run the same command to continue"), lines
    assert codes[:-2] == [130] * len(codes[:-2])
    tty, ended = start("run", spec)
    assert ended() in (0, 3)
    run, ledger = planted_runs.prepare(world, tmp_path / "undisturbed", units=FEW, controls=controls)
    with closing(ledger):
        planted_runs.carry(run, ledger)
    expected = planted_runs.tables(run.folder)
    for name, table in planted_runs.tables(tmp_path / "results" / run.run_id).items():
        pd.testing.assert_frame_equal(table, expected[name])


def in_flight(server: ProviderServer, more: int) -> None:
    """Wait until the server has taken so many requests more than now, the last of which it still holds back."""
    until, taken = time.monotonic() + 300, len(server.books) + more
    while len(server.books) < taken:
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("presses", "columns"), [(1, 80), (2, 140)])
def test_ctrl_c_with_calls_in_flight_keeps_their_answers_and_a_second_one_leaves_at_once(
    world: planted.World, start: Start, tmp_path: Path, presses: int, columns: int
) -> None:
    with ProviderServer(think_apart, delay_s=2.0) as server:
        judge = planted_runs.judge("anthropic/claude-haiku-4-5", server, concurrency=4)
        spec = write_spec(world, tmp_path / "mine.toml", judge=judge, studies={"tokens": 0}, budget={"usd": 5.0})
        lost = 0
        for stage, asked in (("explain", 2), ("score", 10)):
            tty, ended = start("run", spec, columns=columns)
            in_flight(server, asked)
            pressed = time.monotonic()
            code = ended(stage, presses=presses)
            seconds = time.monotonic() - pressed
            lines = [line for line in tty.lines() if line]
            assert code == 130, lines
            assert seconds < (2.0 if presses == 2 else 6.0), seconds
            assert "Traceback" not in tty.raw
            assert max(map(len, lines)) <= columns
            assert "stopping: waiting for the replies to calls in flight" in " ".join(lines)
            assert lines[-1].endswith("run the same command to continue"), lines
            time.sleep(2.5)  # the server ends what nobody reads
            answered, open_calls = calls_by_state(tmp_path / "results")
            assert answered + lost + open_calls == len(server.books)
            assert bool(open_calls) == (presses == 2)
            lost += open_calls
        server.delay_s = 0.0
        tty, ended = start("run", spec, columns=columns)
        assert ended() in (0, 3)
        lines = [line for line in tty.lines() if line]
        assert (f"{open_calls} calls were in flight when this run was killed" in " ".join(lines)) == bool(open_calls)
        asked_again = len(server.books) - len({entry.body_hash for entry in server.books})
        assert asked_again == lost
        assert list((tmp_path / "results").glob("*/summary.json"))


def calls_by_state(results: Path) -> tuple[int, int]:
    """The calls of a ledger with an answer, and those without."""
    with closing(sqlite3.connect(results / "ledger.sqlite")) as ledger:
        states = [state for (state,) in ledger.execute("SELECT state FROM calls")]
    return len(states) - states.count("open") - states.count("lost"), states.count("open")


@pytest.mark.slow
def test_submit_on_a_terminal_shows_every_run_and_every_error(
    world: planted.World, start: Start, tmp_path: Path
) -> None:
    spec = write_spec(world, tmp_path / "mine.toml", judge=JUDGED)
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("name = 'wrong'\nunknown = 1\n")
    tty, ended = start("submit", spec, "--dry-run")
    assert ended() == 0
    assert [line.split()[0] for line in tty.lines() if line.startswith(("planted-", "  explain ", "  score "))][1:] == [
        "explain",
        "score",
    ]
    tty, ended = start("submit", wrong, spec, columns=300)
    assert ended() == 2
    text = "\n".join(tty.lines())
    assert "wrong.toml: not submitted" in text
    assert "  new" in text


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with ProviderServer(think_apart) as running:
        yield running


def dear(world: planted.World, path: Path, server: ProviderServer) -> Path:
    """A spec whose forecast is some hundred dollars."""
    prices = {"input_usd_per_mtok": 1000.0, "output_usd_per_mtok": 1000.0}
    judge = planted_runs.judge("openai-compatible/qwen", server, **prices)
    return write_spec(world, path, judge=judge, studies={"tokens": 0})


@pytest.mark.slow
def test_a_run_without_a_budget_shows_its_forecast_and_asks(
    world: planted.World, start: Start, server: ProviderServer, tmp_path: Path
) -> None:
    spec = dear(world, tmp_path / "mine.toml", server)
    tty, ended = start("run", spec)
    tty.wait_for("[y/N]", seconds=300)
    shown = "\n".join(tty.lines())
    assert "in all   about $" in shown
    assert "budget.usd is not set. Go on?" in shown
    tty.type("n\n")
    assert ended() == 4
    assert "nothing was asked and nothing spent" in tty.lines()[-2]
    assert server.books == []

    tty, ended = start("run", spec, columns=300)
    tty.wait_for("[y/N]", seconds=300)
    tty.type("y\n")
    assert ended() in (0, 3)
    assert server.books
    last = [line for line in tty.lines() if line][-1]
    assert "cost $" in last
    assert last.endswith("report.html")
    assert re.search(r"\x1b]8;[^;]*;file://\S+/report\.html\x1b", tty.raw)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["run"], 2, "give --yes, or a limit such as --set budget.usd="),
        (["submit"], 2, "give --yes, or a limit such as --set budget.usd="),
        (["run", "--yes"], (0, 3), "report.html"),
        (["submit", "--yes"], 0, "  new"),
        (["submit", "--set", "budget.usd=1000"], 0, "  new"),
    ],
)
def test_a_script_agrees_by_an_option_or_a_budget(
    world: planted.World, server: ProviderServer, tmp_path: Path, words: list[str], code: int | tuple[int, ...], said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("OPENAI_COMPATIBLE_API_KEY", planted_runs.KEY)
    spec = dear(world, tmp_path / "mine.toml", server)
    result = CliRunner().invoke(main, [*words, str(spec), "--results", str(tmp_path / "results")])
    assert result.exit_code in (code if isinstance(code, tuple) else (code,))
    assert said in result.output
    assert bool(server.books) == (words == ["run", "--yes"])


def test_features_alone_are_an_evaluation_of_their_own(
    world: planted.World, server: ProviderServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", planted_runs.KEY)
    units = {"feature_ids": list(range(8)), "neuron_ids": [], "neurons": 0}
    judge = planted_runs.judge("anthropic/claude-haiku-4-5", server, key_env="ANTHROPIC_API_KEY")
    (tmp_path / "mine.toml").write_text(world.spec(units=units, judge=judge).to_toml(), encoding="utf-8")
    results = ["--results", str(tmp_path / "results")]
    result = CliRunner().invoke(main, ["run", str(tmp_path / "mine.toml"), *results])
    assert result.exit_code == 0, result.output
    sentence = result.stdout.splitlines()[-2]
    assert sentence.startswith("Features, without neurons to compare, are graded ")
    assert "8 of 8 features scored" in sentence
    [summary] = (tmp_path / "results").glob("*/summary.json")
    assert json.loads(summary.read_text())["headline"]["n_neurons"] == 0
    assert "features graded " in CliRunner().invoke(main, ["runs", *results]).stdout
