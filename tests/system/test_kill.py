"""`kill -9` and Ctrl-C at any moment, then the same command: nothing is lost, doubled or paid for twice."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa
from support.planted_world import runs as planted_runs
from support.planted_world import world as planted
from support.planted_world.provider_replies import think_apart
from support.providers.protocols import read_request
from support.providers.server import ProviderServer, Script
from support.services import run_process

from autointerp.ledger import calls, judgements
from autointerp.ledger.database import Ledger
from autointerp.ledger.schema import calls as call_rows

pytestmark = pytest.mark.slow
KILLS, CONCURRENCY = 20, 6
MODEL = planted_runs.MODELS[0]
Start = Callable[[str, ProviderServer], ForkServerProcess]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> planted.World:
    return planted.make(tmp_path_factory.mktemp("world"))


@pytest.fixture
def start(world: planted.World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts the same command again and again; its files are `NAME/results` and `NAME/output.txt`."""
    for name in planted_runs.KEYS:
        monkeypatch.setenv(name, planted_runs.KEY)
    started: list[ForkServerProcess] = []

    def command(name: str, server: ProviderServer) -> ForkServerProcess:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        few = {"feature_ids": list(range(8)), "neuron_ids": [f"{i}+" for i in range(8)]}
        controls = {"shuffled": 2, "base_rate": 2}
        judge = planted_runs.judge(MODEL, server, concurrency=CONCURRENCY)
        (folder / "spec.toml").write_text(
            world.spec(units=few, score={"per_bin": 2}, controls=controls, judge=judge).to_toml()
        )
        arguments = ["run", str(folder / "spec.toml"), "--results", str(folder / "results"), "--quiet"]
        environment = planted_runs.environment(folder / "cache")
        started.append(run_process.start_command(arguments, environment, folder / "output.txt"))
        return started[-1]

    yield command
    for process in started:
        process.kill()
        process.join()


def wait_until(process: ForkServerProcess, happened: Callable[[], bool]) -> None:
    """Until something happened or the process ended."""
    while process.is_alive() and not happened():
        time.sleep(0.002)


def finish(process: ForkServerProcess) -> int | None:
    process.join(120)
    return process.exitcode


def test_a_run_killed_at_any_moment_ends_with_the_same_tables(start: Start, tmp_path: Path) -> None:
    with ProviderServer(think_apart) as server:
        assert finish(start("whole", server)) == 0
    expected = _tables(tmp_path / "whole")
    total = len(server.books)
    rng = random.Random(5)
    with ProviderServer(think_apart, delay_s=0.01) as server:
        for number in range(KILLS):
            process = start("killed", server)
            _wait_for_a_bad_moment(process, number, server, total, rng)
            process.kill()
            assert finish(process) == -signal.SIGKILL, (tmp_path / "killed" / "output.txt").read_text()
        assert finish(start("killed", server)) == 0
        books, bodies = list(server.books), list(server.bodies)
    found = _tables(tmp_path / "killed")
    for name, table in expected.items():
        pd.testing.assert_frame_equal(found[name], table)
    users = [read_request(entry.protocol, body)[1] for entry, body in zip(books, bodies, strict=True)]
    _paid_once(tmp_path / "killed" / "results", Counter(users))
    assert len({entry.body_hash for entry in books}) == total


def _wait_for_a_bad_moment(
    process: ForkServerProcess, number: int, server: ProviderServer, total: int, rng: random.Random
) -> None:
    """The first kills fall into starting and harvesting, the last into writing the report, all others between and during calls."""
    if number < 4:
        asked, until = len(server.books), time.monotonic() + rng.uniform(0.0, 1.5)
        wait_until(process, lambda: time.monotonic() > until or len(server.books) > asked)
        return
    answered = {entry.body_hash for entry in server.books}
    goal = total if number >= KILLS - 3 else min(total, len(answered) + rng.randrange(1, 2 * total // KILLS))
    wait_until(process, lambda: len({entry.body_hash for entry in list(server.books)}) >= goal)
    time.sleep(rng.uniform(0.0, 0.3 if goal == total else 0.02))


def _tables(folder: Path) -> dict[str, pd.DataFrame]:
    [summary] = (folder / "results").glob("*/summary.json")
    return planted_runs.tables(summary.parent)


def _paid_once(results: Path, served: Counter[str]) -> None:
    """What the server saw more than once was in flight at a kill, and the ledger knows of every such call."""
    rows: dict[str, list[str]] = defaultdict(list)
    ledger = Ledger.in_folder(results)
    with ledger.read() as tx:
        for user, state in tx.execute(sa.select(call_rows.c.user, call_rows.c.state)):
            rows[user].append(state)
        [run_id] = tx.execute(sa.text("select run_id from runs")).scalars()
        judged = judgements.judgement_rows(tx, run_id)
    states = Counter(state for found in rows.values() for state in found)
    assert set(states) == {calls.SCORED, calls.LOST}
    assert 0 < states[calls.LOST] <= KILLS * CONCURRENCY
    for user, found in rows.items():
        assert found.count(calls.SCORED) == 1
        assert served[user] <= len(found)
    assert set(served) == set(rows)
    assert len({row["job_key"] for row in judged}) == len(judged)


def test_ctrl_c_ends_in_one_line_and_the_same_command_continues(start: Start, tmp_path: Path) -> None:
    with ProviderServer(think_apart, delay_s=0.01) as server:
        process = start("run", server)
        wait_until(process, lambda: len(server.books) > 40)
        os.kill(process.pid or 0, signal.SIGINT)
        assert finish(process) == 130
        assert _said(tmp_path) == [STOPPED]
        assert finish(start("run", server)) == 0
    assert len({entry.body_hash for entry in server.books}) == len(server.books), "calls in flight were waited for"


def test_ctrl_c_wakes_threads_that_wait_for_the_provider(start: Start, tmp_path: Path) -> None:
    with ProviderServer(think_apart, Script(*[None] * 30, then="429_seconds"), retry_after_s=29.0) as server:
        process = start("run", server)
        wait_until(process, lambda: len(server.books) > 30)
        time.sleep(0.1)
        os.kill(process.pid or 0, signal.SIGINT)
        process.join(25)
        assert process.exitcode == 130
    assert _said(tmp_path) == [STOPPED]


def test_a_second_ctrl_c_abandons_calls_in_flight(start: Start, tmp_path: Path) -> None:
    with ProviderServer(think_apart, Script(*[None] * 30, then="slow"), slow_s=60.0) as server:
        process = start("run", server)
        wait_until(process, lambda: len(server.books) > 30)
        for _ in range(2):
            time.sleep(0.5)
            os.kill(process.pid or 0, signal.SIGINT)
        process.join(15)
        assert process.exitcode == 130
        assert _said(tmp_path) == [STOPPED]
        server.faults = Script()
        assert finish(start("run", server)) == 0


STOPPED = "autointerp: stopped; all work so far is kept: run the same command to continue"


def _said(folder: Path) -> list[str]:
    return (folder / "run" / "output.txt").read_text().splitlines()
