"""Judgements a second through the whole service: Celery workers, Redis, PostgreSQL and the SDK, against a server of fixed latency.

    ideal      = the lower of concurrency / latency and the configured limit
    ratio      = judgements a second / ideal
    in 60 s    = the most questions that the server was asked within any 60 seconds

Run with `python tests/benchmarks/fanout.py [--processes N ...] [--seconds N] [--ledger sqlite] [--cases CASE ...]`. A case is CONCURRENCYxLATENCY, with
`@N` for a limit of N requests a minute; `local:` before it takes `autointerp run`'s way, one process over SQLite. The limiter's
slow start is in `whole`, from the first judgement to the last answer; `steady` leaves out the first 15 percent of the judgements
and the last 10. Under a limit it counts whole minutes from the first on, for a minute's admissions come as fast as they can.
CPU is that of the steady stretch, in milliseconds a judgement.
"""

from __future__ import annotations

import argparse
import bisect
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.planted_world import runs as planted_runs
from support.planted_world import world as planted
from support.services import fleet as fleet_

from autointerp.pipeline.submit import submit

ROOT = Path(__file__).parents[2]
CASES = ("local:64x2", "64x2", "512x2", "64x0.2", "512x0.2", "64x0.2@3000", "512x0.2@3000", "512x2@3000")
CEILING_GUESS = 100.0
"""Judgements a second that two cores may reach: cases that ask for more are made as long as this rate takes."""
TICK = os.sysconf("SC_CLK_TCK")
LOOK_S = 0.5


@dataclass(frozen=True)
class Case:
    """So many questions in flight at so many seconds each, under a limit of requests a minute if one is set."""

    carrier: str
    concurrency: int
    latency_s: float
    per_minute: int | None

    @classmethod
    def parse(cls, text: str) -> Case:
        found = re.fullmatch(r"(local:)?(\d+)x([\d.]+)(?:@(\d+))?", text)
        if not found:
            raise argparse.ArgumentTypeError(f"{text} is not like 64x0.2, 512x2@6000 or local:64x2")
        return cls(
            "local" if found[1] else "fleet", int(found[2]), float(found[3]), int(found[4]) if found[4] else None
        )

    @property
    def ideal(self) -> float:
        return min(self.concurrency / self.latency_s, self.per_minute / 60 if self.per_minute else math.inf)

    @property
    def limited(self) -> bool:
        return self.per_minute is not None and self.per_minute / 60 < self.concurrency / self.latency_s

    def judgements(self, seconds: float) -> int:
        """As many as the case takes about `seconds` for; under a limit, whole minutes' and the beginning of one more's."""
        if self.limited and self.per_minute:
            return round((max(1, seconds // 60) + 0.1) * self.per_minute)
        return max(64, round(min(self.ideal, CEILING_GUESS) * seconds))


@dataclass(frozen=True)
class Look:
    """Judgements asked for by a moment, and the seconds of CPU of each kind of process."""

    at: float
    asked: int
    cpu_s: dict[str, float]


@dataclass(frozen=True)
class Measured:
    """What a case came to."""

    case: Case
    processes: int
    judgements: int
    whole: float
    steady: float
    in_60_s: int
    cpu_ms: dict[str, float]

    HEADER = "| case | processes | judgements | whole /s | steady /s | ideal /s | ratio | in 60 s | limit | worker ms | PostgreSQL | Redis | server |"

    def row(self) -> str:
        case = self.case
        name = f"{case.concurrency} x {case.latency_s:g} s" + (", `run`" if case.carrier == "local" else "")
        cpu = [f"{self.cpu_ms[kind]:.2f}" if kind in self.cpu_ms else "" for kind in ("worker", "postgres", "redis")]
        cells = [name, self.processes, f"{self.judgements:,}", f"{self.whole:.1f}", f"{self.steady:.1f}"]
        cells += [f"{case.ideal:.1f}", f"{self.steady / case.ideal:.3f}", f"{self.in_60_s:,}", case.per_minute or ""]
        return "| " + " | ".join(map(str, [*cells, *cpu, f"{self.cpu_ms['server']:.2f}"])) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], help="worker processes that share a case")
    parser.add_argument("--cases", type=Case.parse, nargs="+", default=[Case.parse(text) for text in CASES])
    parser.add_argument("--ledger", choices=["postgresql", "sqlite"], default="postgresql", help="of the fleet's cases")
    parser.add_argument("--seconds", type=float, default=40.0, help="about how long a case is made")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n{Measured.HEADER}")
    print("|" + " --- |" * (Measured.HEADER.count("|") - 1), flush=True)
    with tempfile.TemporaryDirectory(prefix="autointerp-fanout-") as name:
        for measured in measure(Path(name), arguments.cases, arguments.processes, arguments.seconds, arguments.ledger):
            print(measured.row(), flush=True)


def measure(
    folder: Path, cases: Sequence[Case], processes: Sequence[int], seconds: float, ledger: str = "postgresql"
) -> Iterator[Measured]:
    """Each case with each number of processes, or the last where a limit binds, in a fleet and a ledger of its own."""
    world = planted.make(folder / "world")
    os.environ.update(dict.fromkeys(planted_runs.KEYS, planted_runs.KEY))
    for number, case in enumerate(cases):
        counts = (1,) if case.carrier == "local" else processes[-1:] if case.limited else processes
        for count in counts:
            with fixed_server(case.latency_s) as (url, server):
                here = folder / f"{number}-{count}"
                spec = spec_of(world, case, url, case.judgements(seconds))
                carry = partial(in_fleet, ledger) if case.carrier == "fleet" else in_one_process
                looks = carry(here, spec, case, count, folder / "artifacts", url, server)
                yield summed_up(case, count, looks, ask(url, "asked"))


def spec_of(world: planted.World, case: Case, url: str, judgements: int) -> Any:
    """The planted run that asks about so many questions, repeats among them: each is a question of its own."""
    judge = {"model": "anthropic/claude-haiku-4-5", "base_url": url, "max_output_tokens": 200, "max_wait_s": 3600}
    judge |= {"concurrency": case.concurrency} | ({"requests_per_minute": case.per_minute} if case.per_minute else {})
    units = len(world.features) + len(world.neurons)
    repeats = max(1, min(20, round(judgements / (units * 60))))
    each = max(1, math.ceil(judgements / (units * BINS * repeats)))
    score = {"per_bin": each, "repeats": repeats}
    controls = {"shuffled": 0, "base_rate": 0}
    return world.spec(judge=judge, score=score, controls=controls, budget={"usd": 10_000})


BINS = 7
"""Bins of a planted unit that hold enough exemplars, on average."""


def in_fleet(
    ledger: str,
    folder: Path,
    spec: Any,
    case: Case,
    processes: int,
    artifacts: Path,
    url: str,
    server: subprocess.Popen[str],
) -> list[Look]:
    """Carry a run by worker processes that share the concurrency."""
    settings = {"AUTOINTERP_ARTIFACTS": artifacts}
    if ledger == "sqlite":
        settings["AUTOINTERP_LEDGER"] = f"sqlite:///{folder / 'ledger.sqlite'}"
    with fleet_.running(folder, **settings) as service:
        service.start("activations", *fleet_.ACTIVATIONS)
        service.start("aggregate", *fleet_.AGGREGATE)
        service.start("beat", *fleet_.BEAT)
        threads = str(case.concurrency // processes)
        names = [f"judge-{n}" for n in range(processes)]
        for name in names:
            service.start(name, "worker", "-Q", "judge", "--pool", "threads", "-c", threads)
        run_id = submit(service.ledger, spec, service.results).run_id
        pids = {"worker": [service.members[name].process.pid for name in names], "server": [server.pid]}
        pids |= {
            kind: [it.process.pid]
            for kind, it in (("redis", service.redis), ("postgres", service.postgres))
            if it.process
        }
        looks: list[Look] = []

        def look() -> None:
            if not looks or time.monotonic() - looks[-1].at >= LOOK_S:
                looks.append(look_at(url, pids))

        states = service.wait([run_id], meanwhile=look, patience_s=1200)
        assert states[run_id] in ("done", "withheld"), service.logs()
        return looks


def in_one_process(
    folder: Path, spec: Any, case: Case, processes: int, artifacts: Path, url: str, server: subprocess.Popen[str]
) -> list[Look]:
    """Carry a run as `autointerp run` does, in a process of its own."""
    given = folder / "spec.toml"
    folder.mkdir(parents=True)
    given.write_text(spec.to_toml())
    command = [sys.executable, "-m", "autointerp", "run", str(given), "--results", str(folder / "results")]
    with (folder / "run.log").open("w") as log:
        run = subprocess.Popen(
            command, env=planted_runs.environment(folder / "cache"), cwd=ROOT, stdout=log, stderr=log
        )
    looks = []
    while run.poll() is None:
        looks.append(look_at(url, {"worker": [run.pid], "server": [server.pid]}))
        time.sleep(LOOK_S)
    assert run.returncode in (0, 3), (folder / "run.log").read_text()
    return looks


@contextmanager
def fixed_server(latency_s: float) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address and process of a server of fixed latency."""
    script = [sys.executable, str(ROOT / "tests" / "benchmarks" / "fixed_server.py"), "--latency", str(latency_s)]
    with subprocess.Popen(script, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip(), server
        finally:
            server.kill()


def ask(url: str, what: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}/{what}", timeout=30) as answer:
        return json.load(answer)  # type: ignore[no-any-return]


def look_at(url: str, pids: dict[str, list[int]]) -> Look:
    asked = ask(url, "count")["grades"]
    return Look(time.monotonic(), asked, {kind: sum(map(cpu_s, those)) for kind, those in pids.items()})


def cpu_s(pid: int) -> float:
    """Seconds of CPU of a process and of its children, those that ended among them."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(field) for field in fields[11:15]) / TICK + sum(map(cpu_s, fleet_.children_of(pid)))


def summed_up(case: Case, processes: int, looks: Sequence[Look], asked: dict[str, list[float]]) -> Measured:
    """The figures of a case, from the moments at which the server was asked."""
    grades = sorted(asked["grades"])
    begin, end = steady_stretch(case, grades)
    first, last = (min(looks, key=lambda look: abs(look.at - at)) for at in (begin, end))
    between = max(1, last.asked - first.asked)
    return Measured(
        case,
        processes,
        len(grades),
        len(grades) / (grades[-1] + case.latency_s - grades[0]),
        count_between(grades, begin, end) / (end - begin),
        most_within(sorted(grades + asked["explanations"]), 60.0),
        {kind: 1000 * (last.cpu_s[kind] - first.cpu_s[kind]) / between for kind in last.cpu_s},
    )


def steady_stretch(case: Case, grades: Sequence[float]) -> tuple[float, float]:
    """When the steady stretch began and ended: a whole number of latencies, or of minutes under a limit."""
    begin, period = (grades[0], 60.0) if case.limited else (grades[len(grades) * 15 // 100], case.latency_s)
    until = grades[-1] if case.limited else grades[len(grades) * 90 // 100]
    return begin, begin + max(1, math.floor((until - begin) / period)) * period


def count_between(moments: Sequence[float], begin: float, end: float) -> int:
    return bisect.bisect_left(moments, end) - bisect.bisect_left(moments, begin)


def most_within(moments: Sequence[float], seconds: float) -> int:
    """The most moments that lie within a stretch of `seconds`."""
    return max((bisect.bisect_left(moments, at + seconds) - n for n, at in enumerate(moments)), default=0)


if __name__ == "__main__":
    main()
