"""The service as processes: Redis, PostgreSQL, workers and beat, which tests stop, kill and start again.

with fleet.running(folder, postgres) as service:
    service.start("judge", *JUDGE)
    ...
    service.wait([run_id])
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from support.locations import ROOT
from support.planted_world import runs as planted_runs
from support.services.fork_server import Clock, ForkServer, shared_server
from support.services.servers import PostgresServer, RedisServer, postgres_server, redis_server

from autointerp.errors import AutointerpError
from autointerp.ledger import events, jobs, runs
from autointerp.ledger.database import Ledger

PATIENCE_S = 240.0
"""How long a run may take. A limit for one that is stuck, not a measurement."""
QUICK_APP, CHAOS_APP = "support.services.quick_app", "support.services.chaos_app"
ACTIVATIONS = ("worker", "-Q", "activations", "--pool", "solo")
JUDGE = ("worker", "-Q", "judge", "--pool", "threads", "-c", "8")
AGGREGATE = ("worker", "-Q", "aggregate,control", "--pool", "threads", "-c", "2")
BEAT = ("beat",)


class Process(Protocol):
    pid: int

    def poll(self) -> int | None: ...


@dataclass
class Member:
    """A worker or beat: its command, and its current process."""

    name: str
    arguments: tuple[str, ...]
    clock: Clock | None
    process: Process
    starts: int = 1


@dataclass
class Fleet:
    """Workers and beat over one Redis, one ledger and one results folder."""

    folder: Path
    redis: RedisServer
    postgres: PostgresServer
    environment: Mapping[str, str]
    app: str
    fork_server: ForkServer | None = None
    """Forks the processes. Without it each is started by its command."""
    members: dict[str, Member] = field(default_factory=dict)

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def start(self, name: str, *arguments: str, clock: Clock | None = None) -> None:
        """Start `celery ARGUMENTS` under a name."""
        if arguments[0] == "worker":
            quickly = ("--without-mingle", "--without-gossip") if self.app == QUICK_APP else ()
            arguments = (*arguments, *quickly, "-n", f"{name}@%h")
        else:
            arguments = (*arguments, "--schedule", str(self.folder / f"{name}.schedule"), "--pidfile=")
        self.members[name] = Member(name, arguments, clock, self._spawn(name, arguments, clock))

    def start_all(self) -> None:
        """Start one worker for each kind of work, and beat."""
        for name, arguments in (
            ("activations", ACTIVATIONS),
            ("judge", JUDGE),
            ("aggregate", AGGREGATE),
            ("beat", BEAT),
        ):
            self.start(name, *arguments)

    def stop(self, name: str) -> int:
        """Send SIGTERM, and wait. Returns the exit status."""
        os.kill(self.members[name].process.pid, signal.SIGTERM)
        return self.wait_for_exit(name)

    def kill(self, name: str) -> None:
        """`kill -9`. Children of a pool are not killed."""
        with suppress(ProcessLookupError):
            os.kill(self.members[name].process.pid, signal.SIGKILL)
        self.wait_for_exit(name)

    def wait_for_exit(self, name: str) -> int:
        """Wait until a member has ended. Returns its exit status."""
        process, deadline = self.members[name].process, time.monotonic() + 60
        while (status := process.poll()) is None:
            if time.monotonic() > deadline:
                raise AssertionError(f"{name} does not end\n{self.logs()}")
            time.sleep(0.02)
        return status

    def supervise(self) -> None:
        """Start members that have ended again, as a supervisor does."""
        for member in self.members.values():
            if member.process.poll() is not None:
                member.process = self._spawn(member.name, member.arguments, member.clock)
                member.starts += 1

    def wait(
        self,
        run_ids: Sequence[str],
        *,
        until: Callable[[dict[str, dict[str, dict[str, int]]]], bool] | None = None,
        patience_s: float = PATIENCE_S,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> dict[str, str]:
        """Wait until runs have ended, or until `until` accepts their jobs by stage and state. Returns the runs' states."""
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            meanwhile()
            self._check_members()
            with suppress(AutointerpError):
                states, counts = self.look(run_ids)
                if until(counts) if until else not any(state in runs.LIVE for state in states.values()):
                    return states
            time.sleep(0.1)
        raise AssertionError(f"not done after {patience_s:g} s\n{self.logs()}")

    def _check_members(self) -> None:
        """Raise if a member has ended by itself with an error: nothing will come of waiting for it."""
        for member in self.members.values():
            if (member.process.poll() or 0) > 0:
                raise AssertionError(f"{member.name} ended with status {member.process.poll()}\n{self.logs()}")

    def look(self, run_ids: Sequence[str]) -> tuple[dict[str, str], dict[str, dict[str, dict[str, int]]]]:
        """States of runs, and their jobs by stage and state. Raises `AutointerpError` while the ledger is away."""
        with self.ledger.read() as tx:
            rows = {run_id: runs.get(tx, run_id) for run_id in run_ids}
            counts = {run_id: jobs.counts(tx, run_id) for run_id in run_ids}
        return {run_id: str(row["state"]) if row else "unknown" for run_id, row in rows.items()}, counts

    @property
    def ledger(self) -> Ledger:
        if "_ledger" not in self.__dict__:
            self.__dict__["_ledger"] = Ledger.open(self.environment["AUTOINTERP_LEDGER"])
        return self.__dict__["_ledger"]  # type: ignore[no-any-return]

    def logs(self, most: int = 2500) -> str:
        """What helps to explain a failure: runs, jobs, events, and the end of each log."""
        lines = []
        with suppress(AutointerpError), self.ledger.read() as tx:
            for row in runs.all_runs(tx):
                lines.append(f"{row['run_id']}: {row['state']} {row['reason']} {jobs.counts(tx, row['run_id'])}")
                lines += [f"  {event['level']} {event['text']}" for event in events.of_run(tx, row["run_id"])]
            lines += [f"{event['level']} {event['text']}" for event in events.of_run(tx, "")][-20:]
        for log in sorted(self.folder.glob("*.log")):
            lines.append(f"---- {log.name}\n{log.read_text(errors='replace')[-most:]}")
        return "\n".join(lines)

    def close(self) -> None:
        """Kill all members at once."""
        for member in self.members.values():
            with suppress(ProcessLookupError):
                os.killpg(member.process.pid, signal.SIGKILL)
        for name in self.members:
            self.wait_for_exit(name)
        if "_ledger" in self.__dict__:
            self.ledger.close()

    def _spawn(self, name: str, arguments: Sequence[str], clock: Clock | None) -> Process:
        log = self.folder / f"{name}.log"
        words = ["-A", self.app, *arguments]
        if self.fork_server is not None:
            return self.fork_server.start(words, self.environment, log, clock)
        with log.open("ab") as out:
            return subprocess.Popen(
                [sys.executable, "-m", "celery", *words],
                env=os.environ | dict(self.environment),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )


@contextmanager
def running(
    folder: Path,
    postgres: PostgresServer | None = None,
    *,
    app: str = "workers.app",
    forked: bool = False,
    tls: bool = False,
    **settings: Any,
) -> Iterator[Fleet]:
    """A fleet without members yet, over a Redis of its own and a new database of `postgres`, or a server of its own.

    `forked`: processes are forked from a server that has imported everything, so they start at once. `tls`: Redis speaks TLS and
    asks for a password. `settings` are environment variables of all processes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(tls=tls, password=secrets.token_urlsafe(12) if tls else None))
        ledger = postgres.database() if postgres else None
        postgres = postgres or stack.enter_context(postgres_server())
        environment = dict.fromkeys(planted_runs.KEYS, planted_runs.KEY) | {
            "AUTOINTERP_LEDGER": ledger or postgres.url,
            "AUTOINTERP_BROKER": f"{redis.url}?ssl_ca_certs={redis.ca}" if tls else redis.url,
            "AUTOINTERP_RESULTS": str(folder / "results"),
            "AUTOINTERP_CACHE": str(folder / "cache"),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join((str(ROOT / "tests"), str(ROOT))),
            **{name: str(value) for name, value in settings.items()},
        }
        fleet = Fleet(folder, redis, postgres, environment, app)
        if forked:
            fleet.fork_server = shared_server()
        stack.callback(fleet.close)
        yield fleet


def children_of(pid: int) -> list[int]:
    """Process ids of a process's children."""
    with suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []
