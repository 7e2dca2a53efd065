"""`autointerp workers start`: one command starts the workers of a host, and stops them together."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from support.locations import ROOT
from support.planted_world import world as planted
from support.services.servers import PostgresServer, RedisServer

from autointerp.ledger import runs, workers
from autointerp.ledger.database import Ledger
from autointerp.pipeline.submit import submit

pytestmark = pytest.mark.slow
FEW = {"feature_ids": list(range(4)), "neuron_ids": [f"{i}+" for i in range(4)]}


class Started:
    """The command in the foreground of a session of its own, as in a terminal, and what it printed."""

    def __init__(self, folder: Path, redis: RedisServer, ledger: str) -> None:
        self.results, self._out, self._err = folder / "results", folder / "out", folder / "err"
        self.ledger = Ledger.open(ledger)
        environment = {
            "AUTOINTERP_BROKER": redis.url,
            "AUTOINTERP_LEDGER": ledger,
            "AUTOINTERP_CACHE": str(folder / "cache"),
            "PYTHONPATH": str(ROOT),
        }
        command = [sys.executable, "-m", "autointerp", "workers", "start", "--beat", "--results", str(self.results)]
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                command, env=os.environ | environment, cwd=folder, stdout=out, stderr=err, start_new_session=True
            )
        self.wait_until(lambda: len(self.pids) == 4)

    @property
    def pids(self) -> dict[str, int]:
        """The processes that the command said it started."""
        return {name: int(pid) for name, pid in re.findall(r"^(\w+) +pid (\d+) +celery ", self.out, re.MULTILINE)}

    @property
    def out(self) -> str:
        return self._out.read_text(errors="replace")

    @property
    def err(self) -> str:
        return self._err.read_text(errors="replace")

    def live(self) -> set[str]:
        """The queues of the live workers."""
        with self.ledger.read() as tx:
            return {row["queues"] for row in workers.live(tx)}

    def wait_until_ready(self) -> None:
        self.wait_until(lambda: self.live() == {"activations", "judge", "aggregate,control"})

    def wait_until(self, done: Callable[[], bool], patience_s: float = 120.0) -> None:
        deadline = time.monotonic() + patience_s
        while not done():
            assert self.process.poll() is None, f"ended\n{self.out}\n{self.err}"
            assert time.monotonic() < deadline, f"{self.out}\n{self.err}"
            time.sleep(0.1)

    def close(self) -> None:
        self.ledger.close()
        for pid in (self.process.pid, *self.pids.values()):
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        self.process.wait()


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


@pytest.fixture
def started(tmp_path: Path, redis_service: RedisServer, postgres_service: PostgresServer) -> Iterator[Started]:
    command = Started(tmp_path, redis_service, postgres_service.database())
    yield command
    command.close()


def test_one_command_carries_a_run_to_its_report_and_sigterm_ends_all_after_their_work(
    started: Started, tmp_path: Path
) -> None:
    world = planted.make(tmp_path / "world", documents=80)
    started.wait_until_ready()
    spec = world.spec(units=FEW, judge={"model": "embedded"}, controls={"shuffled": 2, "base_rate": 2})
    run_id = submit(started.ledger, spec, started.results).run_id

    def ended() -> bool:
        with started.ledger.read() as tx:
            row = runs.get(tx, run_id)
        return row is not None and row["state"] not in runs.LIVE

    started.wait_until(ended)
    assert (started.results / run_id / "report.html").exists()
    started.process.terminate()
    assert started.process.wait(60) == 0, started.err
    assert not any(map(running, started.pids.values()))
    assert started.live() == set(), "each worker took its leave"


def test_a_second_ctrl_c_stops_at_once_what_the_first_one_left_working(started: Started) -> None:
    started.wait_until_ready()
    os.kill(started.pids["judge"], signal.SIGSTOP)  # a worker whose work takes for ever
    started.process.send_signal(signal.SIGINT)
    started.wait_until(lambda: not running(started.pids["aggregate"]))
    assert running(started.pids["judge"])
    assert "Ctrl-C again stops at once" in started.out
    started.process.send_signal(signal.SIGINT)
    assert started.process.wait(30) == 130, started.err
    assert not any(map(running, started.pids.values()))


def test_a_worker_that_ends_by_itself_ends_all_with_one_line(started: Started) -> None:
    started.wait_until_ready()
    os.kill(started.pids["aggregate"], signal.SIGKILL)
    assert started.process.wait(60) == 1
    assert started.err.splitlines()[-1].startswith("autointerp: aggregate ended by itself, killed by signal 9")
    assert not any(map(running, started.pids.values()))
    assert "Traceback" not in started.err
