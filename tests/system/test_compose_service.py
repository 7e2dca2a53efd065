"""The very commands of docker-compose.yml, as plain processes on real Redis and PostgreSQL, carry a batch of runs to their reports."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.planted_world import runs as planted_runs
from support.planted_world import world as planted
from support.planted_world.provider_replies import think_apart
from support.providers.server import ProviderServer
from support.services.compose_file import commands_of
from support.services.servers import free_port, postgres_server, redis_server

from autointerp.ledger.revisions import revisions

BIN = Path(sys.executable).parent
PASSWORD = "of-letters-and-digits-1"
PATIENCE_S = 180.0
Start = Callable[[str], subprocess.Popen[bytes]]


class Compose:
    """What `docker compose up` would start, on this machine's addresses and folders."""

    def __init__(self, folder: Path, broker: str, ledger: str) -> None:
        self.folder = folder
        self.ports = {"5555": str(free_port()), "9464": str(free_port())}
        own = {
            "AUTOINTERP_BROKER": broker,
            "AUTOINTERP_LEDGER": ledger,
            "AUTOINTERP_RESULTS": str(folder / "results"),
            "AUTOINTERP_ARTIFACTS": str(folder / "artifacts"),
            "AUTOINTERP_CACHE": str(folder / "cache"),
            "HF_HOME": str(folder / "hub"),
            "OMP_NUM_THREADS": "1",
        }
        given = {"REDIS_PASSWORD": PASSWORD, "POSTGRES_PASSWORD": PASSWORD, "FLOWER_BASIC_AUTH": "watcher:secret"}
        self.commands = commands_of(given | dict.fromkeys(planted_runs.KEYS, planted_runs.KEY))
        self.environment = {name: os.environ | command.environment | own for name, command in self.commands.items()}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def run(self, *words: str) -> str:
        """A command in the aggregate worker's container, as the documentation has it; its output."""
        environment = self.environment["aggregate-worker"]
        return subprocess.run(
            [str(BIN / words[0]), *words[1:]], env=environment, check=True, capture_output=True, text=True
        ).stdout

    def start(self, name: str) -> None:
        words = [self._here(word) for word in self.commands[name].words]
        words[0] = str(BIN / words[0])
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                words, env=self.environment[name], cwd=self.folder, stdout=log, stderr=log
            )

    def _here(self, word: str) -> str:
        for port, free in self.ports.items():
            word = word.replace(port, free)
        return word.replace("/var/lib/autointerp", str(self.folder)).replace("0.0.0.0", "127.0.0.1")

    def logs(self) -> str:
        return "\n".join(
            f"---- {log.name}\n{log.read_text(errors='replace')[-2000:]}" for log in sorted(self.folder.glob("*.log"))
        )


@pytest.fixture
def compose(tmp_path: Path) -> Iterator[Compose]:
    with redis_server(password=PASSWORD) as redis, postgres_server() as postgres:
        started = Compose(tmp_path, redis.url, postgres.url)
        yield started
        for process in started.processes.values():
            process.terminate()
        for process in started.processes.values():
            process.wait(60)


def page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return str(answer.read().decode())


def eventually(compose: Compose, ask: Callable[[], str], wanted: str) -> str:
    """What a page or command says once it says `wanted`."""
    deadline, said = time.monotonic() + PATIENCE_S, ""
    while time.monotonic() < deadline:
        try:
            said = ask()
        except (OSError, subprocess.CalledProcessError) as error:
            said = str(error)
        if wanted in said:
            return said
        time.sleep(0.5)
    raise AssertionError(f"{wanted!r} never came: {said}\n{compose.logs()}")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_commands_of_the_compose_file_carry_what_is_submitted(compose: Compose, tmp_path: Path) -> None:
    world = planted.make(tmp_path / "inputs")
    few = {"feature_ids": list(range(6)), "neuron_ids": [f"{i}+" for i in range(6)]}
    controls = {"shuffled": 2, "base_rate": 2}
    assert revisions()[-1] in compose.run("autointerp", "migrate")
    for name in ("cpu-worker", "judge-worker", "aggregate-worker", "beat", "flower", "metrics"):
        compose.start(name)
    with ProviderServer(think_apart) as server:
        path = tmp_path / "spec.toml"
        path.write_text(
            world.spec(
                units=few,
                score={"per_bin": 2},
                controls=controls,
                judge=planted_runs.judge(planted_runs.MODELS[0], server),
            ).to_toml()
        )
        first, second = compose.run("autointerp", "submit", str(path), str(path)).splitlines()
        run_id = first.split()[0]
        assert second.split()[0] == run_id, "the same spec twice is one run"
        compose.run("autointerp", "status", "--watch", run_id)
    assert (tmp_path / "results" / run_id / "report.html").exists(), compose.logs()
    metrics = eventually(
        compose, lambda: page(f"http://127.0.0.1:{compose.ports['9464']}/metrics"), 'autointerp_runs{state="done"} 1'
    )
    assert 'autointerp_up{of="redis"} 1' in metrics
    assert "OK" in eventually(compose, lambda: page(f"http://127.0.0.1:{compose.ports['5555']}/healthcheck"), "OK")
    shown = compose.run("autointerp", "workers")
    assert all(queue in shown for queue in ("activations", "judge", "aggregate"))
    for name, process in compose.processes.items():
        assert process.poll() is None, f"{name} ended\n{compose.logs()}"
    everything = compose.logs()
    assert planted_runs.KEY not in everything
    assert PASSWORD not in everything
