"""Breaks the service while it carries runs, by a seeded plan, and holds what it ends with against undisturbed runs.

    python -m tests.system.chaos --seed 0 --faults 1000 --judgements 5000

Faults are of two kinds: those of the provider, over real HTTP, and events that befall the fleet: `kill -9` of workers, of a
pool's child and of beat, FLUSHALL, Redis restarted empty, PostgreSQL restarted, messages delivered again, and wall clocks set
an hour forward and back. Redis hands messages out again after 2 s while tasks last 10 s (`chaos_app`). The events keep step
with the questions asked, so that the whole of every run is disturbed. It prints what was injected and what was found, and exits
with 1 where a promise was broken.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

if __package__:  # python -m tests.system.chaos
    sys.path.insert(0, str(Path(__file__).parents[1]))

import pandas as pd
import sqlalchemy as sa
from support.planted_world import runs as planted_runs
from support.planted_world import world as planted
from support.planted_world.provider_replies import think_apart
from support.providers.protocols import read_request
from support.providers.server import TRANSIENT, Entry, ProviderServer
from support.services import fleet as fleet_
from support.services.fork_server import Clock

from autointerp.errors import AutointerpError, LedgerFailed
from autointerp.ledger import calls, runs
from autointerp.ledger import judgements as judgement_rows
from autointerp.ledger.database import Ledger
from autointerp.ledger.schema import budgets as budget_rows
from autointerp.ledger.schema import calls as call_rows
from autointerp.ledger.schema import jobs as job_rows
from autointerp.ledger.schema import workers as worker_rows
from autointerp.pipeline.submit import submit

FINAL = ("truncated", "refusal", "invalid_json", "out_of_range", "content_policy")
"""Faults that leave a judgement unscored: drawn for a question, whoever asks it and however often, so that they are the same undisturbed."""
MOST_FAULTS = 2
"""Passing faults that a question meets: less than the attempts that it has."""
JUDGE_THREADS, HOUR_S = 6, 3600
EVERY_S = 3.0
"""An event comes at the latest so long after the one before, also where nothing is being asked."""
LIMIT_S = 1500
"""Seconds after which a disturbed fleet counts as stuck."""
WEIGHTS = {
    "kill -9 of a judge worker": 6,
    "kill -9 of a pool's child": 6,
    "kill -9 of the aggregating worker": 3,
    "kill -9 of the activations worker": 2,
    "kill -9 of beat": 4,
    "SIGTERM of a judge worker": 3,
    "FLUSHALL": 8,
    "Redis killed, restarted empty": 4,
    "Redis restarted": 2,
    "PostgreSQL restarted": 4,
    "messages delivered again": 12,
    "clock set by an hour": 12,
}


class Provider:
    """The provider's faults: final ones always, passing ones while it is `unsteady`."""

    def __init__(self, seed: int, passing: float, final: float) -> None:
        self.seed, self.passing, self.final = seed, passing, final
        self.unsteady = False
        self._met: Counter[str] = Counter()

    def __call__(self, number: int, body_hash: str, attempt: int) -> str | None:
        if found := self._draw(f"final/{body_hash}", self.final, FINAL):
            return found
        if not self.unsteady or self._met[body_hash] >= MOST_FAULTS:
            return None
        self._met[body_hash] += 1
        return self._draw(f"{self._met[body_hash]}/{body_hash}", self.passing, TRANSIENT)

    def _draw(self, what: str, share: float, kinds: Sequence[str]) -> str | None:
        digest = sha256(f"{self.seed}/{what}".encode()).digest()
        drawn = int.from_bytes(digest[:8], "big") / 2**64
        return kinds[int.from_bytes(digest[8:16], "big") % len(kinds)] if drawn < share else None


@dataclass
class Events:
    """What befalls the fleet, one event after another."""

    fleet: fleet_.Fleet
    clocks: Sequence[Clock]
    rng: random.Random
    names: Sequence[str]
    """The events to come, in order."""
    happened: Counter[str] = field(default_factory=Counter)
    last: float = field(default_factory=time.monotonic)
    old_messages: list[tuple[str, bytes]] = field(default_factory=list)

    @property
    def done(self) -> int:
        return self.happened.total()

    def next(self) -> None:
        """Let the next event happen."""
        name = self.names[self.done]
        {
            "kill -9 of a judge worker": self._kill_judge,
            "kill -9 of a pool's child": self._kill_child,
            "kill -9 of the aggregating worker": lambda: self.fleet.kill("aggregate"),
            "kill -9 of the activations worker": lambda: self.fleet.kill("activations"),
            "kill -9 of beat": lambda: self.fleet.kill("beat"),
            "SIGTERM of a judge worker": self._terminate,
            "FLUSHALL": self._flush,
            "Redis killed, restarted empty": lambda: self.fleet.redis.restart(empty=True, by=signal.SIGKILL),
            "Redis restarted": self.fleet.redis.restart,
            "PostgreSQL restarted": self.fleet.postgres.restart,
            "messages delivered again": self._deliver_again,
            "clock set by an hour": self._set_clock,
        }[name]()
        self.happened[name] += 1
        self.last = time.monotonic()

    def _kill_judge(self) -> None:
        """Kill a worker, in the middle of a call if it comes to one soon."""
        name = self.rng.choice(["judge-1", "judge-2"])
        main = self.fleet.members[name].process.pid
        self._once_asking(lambda: [main, *fleet_.children_of(main)])
        self.fleet.kill(name)

    def _kill_child(self) -> None:
        main = self.fleet.members["judge-2"].process.pid
        pids = self._once_asking(lambda: fleet_.children_of(main)) or fleet_.children_of(main)
        with suppress(ProcessLookupError, IndexError):
            os.kill(pids[0], signal.SIGKILL)

    def _once_asking(self, pids: Callable[[], Sequence[int]]) -> list[int]:
        """Those of some processes that are in the middle of a call, once there are any; none are waited for longer than 2 s."""
        asking = sa.select(worker_rows.c.pid).join(call_rows, call_rows.c.worker == worker_rows.c.worker_id)
        deadline, found = time.monotonic() + 2.0, set[int]()
        while not found and time.monotonic() < deadline:
            with suppress(LedgerFailed), self.fleet.ledger.read() as tx:
                found = set(tx.execute(asking.where(call_rows.c.state == calls.OPEN)).scalars()) & set(pids())
        return sorted(found)

    def _terminate(self) -> None:
        os.kill(self.fleet.members["judge-1"].process.pid, signal.SIGTERM)

    def _flush(self) -> None:
        with self.fleet.redis.client() as client:
            client.flushall()

    def _set_clock(self) -> None:
        self.rng.choice(self.clocks).set(self.rng.choice([-HOUR_S, 0, HOUR_S]))

    def _deliver_again(self) -> None:
        """Messages that wait, that are being worked on, and that were dealt with long ago."""
        with self.fleet.redis.client() as client:
            current = [
                (queue, raw) for queue in ("judge", "aggregate", "control") for raw in client.lrange(queue, 0, 9)
            ]
            for value in client.hvals("unacked"):
                message, _, queue = json.loads(value)
                current.append((queue, json.dumps(message).encode()))
            self.old_messages += current[:20]
            for queue, raw in current + self.rng.sample(self.old_messages, min(10, len(self.old_messages))):
                client.lpush(queue, raw)


@dataclass
class Found:
    """What a disturbed fleet ended with."""

    injected: Counter[str]
    numbers: dict[str, Any]
    violations: list[str]

    def table(self) -> str:
        lines = [f"{n:>8,}  {name}" for name, n in sorted(self.injected.items())]
        lines.append(f"{self.injected.total():>8,}  faults in all")
        lines += [f"{value:>8,}  {name}" for name, value in self.numbers.items()]
        return "\n".join([*lines, *(f"VIOLATED: {line}" for line in self.violations)])


def break_service(
    folder: Path,
    *,
    seed: int,
    faults: int,
    judgements: int,
    models: Sequence[str],
    units: int,
    events: int,
    say: Callable[[str], None] = lambda line: None,
) -> Found:
    """Carry runs of `judgements` together undisturbed and then disturbed by `faults`, of which `events` befall the fleet."""
    world = planted.make(folder / "world")
    provider = Provider(seed, passing=1.1 * (faults - events) / judgements, final=0.01)
    with ProviderServer(think_apart, provider) as server:
        specs = [_spec(world, model, server, -(-judgements // len(models)), units) for model in models]
        expected, order = {}, time.monotonic()
        for spec in specs:
            run, ledger = planted_runs.prepare(world, folder / "undisturbed", **spec)
            planted_runs.carry(run, ledger)
            ledger.close()
            expected[run.run_id] = planted_runs.tables(run.folder)
        asked = len(server.books)
        say(f"undisturbed: {asked:,} calls, {time.monotonic() - order:.0f} s")
        with fleet_.running(folder / "fleet", app=fleet_.CHAOS_APP, forked=True) as fleet:
            chaos = _begin(fleet, seed, events)
            provider.unsteady, begun = True, time.monotonic()
            ids = [submit(fleet.ledger, world.spec(**spec), fleet.results).run_id for spec in specs]
            assert set(ids) == set(expected)
            _disturb(fleet, chaos, ids, server, provider, asked, say)
            states = fleet.wait(ids, meanwhile=fleet.supervise)
            numbers = {
                "seconds": round(time.monotonic() - begun),
                "seconds from the last event to the end": round(time.monotonic() - chaos.last),
                "starts of workers and beat": sum(member.starts for member in fleet.members.values()),
            }
            injected = chaos.happened + Counter(
                f"provider: {entry.fault}" for entry in server.books[asked:] if entry.fault
            )
            found = Found(Counter(injected), numbers, [])
            _check(fleet, states, expected, server.books[asked:], server.bodies[asked:], models, found)
            if found.numbers["judgements"] < judgements:
                found.violations.append(f"only {found.numbers['judgements']} judgements, {judgements} were wanted")
            if injected.total() < faults:
                found.violations.append(f"only {injected.total()} faults were injected, {faults} were wanted")
            if found.violations:
                say(fleet.logs())
    return found


def _spec(world: planted.World, model: str, server: ProviderServer, judgements: int, units: int) -> dict[str, Any]:
    """Sections of a spec of at least so many judgements, half of its `units` features. Not every unit is active in every bin."""
    each = math.ceil(1.15 * judgements / units)
    per_bin = max(1, each // 13)
    controls = max(2, -(-(each - 10 * per_bin) // 2))
    half = units // 2
    return {
        "units": {"feature_ids": list(range(half)), "neuron_ids": [f"{i}+" for i in range(half)]},
        "score": {"per_bin": per_bin},
        "controls": {
            "shuffled": controls,
            "base_rate": controls,
            "planted": 0,
            "repeated": 0,
            "neighbours": 0,
            "random_dictionary": False,
            "random_subject": False,
        },
        "harvest": {"window_tokens": 16, "batch_tokens": 256, "shard_tokens": 8192},
        "studies": {"tokens": 0},
        "report": {"resamples": 200},
        "judge": planted_runs.judge(model, server, concurrency=JUDGE_THREADS),
    }


def _begin(fleet: fleet_.Fleet, seed: int, events: int) -> Events:
    rng = random.Random(seed)
    clocks = [Clock(fleet.folder / f"host-{name}.clock") for name in "ab"]
    threads, pool = ("--pool", "threads", "-c", str(JUDGE_THREADS)), ("--pool", "prefork", "-c", "3")
    fleet.start("aggregate", *fleet_.AGGREGATE, clock=clocks[0])
    fleet.start("beat", *fleet_.BEAT, clock=clocks[1])
    fleet.start("activations", *fleet_.ACTIVATIONS, clock=clocks[1])
    fleet.start("judge-1", "worker", "-Q", "judge", *threads, clock=clocks[0])
    fleet.start("judge-2", "worker", "-Q", "judge", *pool, clock=clocks[1])
    names = list(WEIGHTS)
    drawn = names[:events] + rng.choices(names, list(WEIGHTS.values()), k=max(0, events - len(names)))
    rng.shuffle(drawn)
    return Events(fleet, clocks, rng, drawn)


def _disturb(
    fleet: fleet_.Fleet,
    chaos: Events,
    ids: Sequence[str],
    server: ProviderServer,
    provider: Provider,
    asked: int,
    say: Callable[[str], None],
) -> None:
    """Let the events happen in step with the questions, and then the provider's faults end."""
    total, begun, told = asked, time.monotonic(), 0.0
    while chaos.done < len(chaos.names) or len({entry.body_hash for entry in server.books[asked:]}) < total:
        fleet.supervise()
        progress = (len(server.books) - asked) / total
        behind = progress - chaos.done / len(chaos.names)
        # Calls take longer while the events lag behind the questions, and no time once all events have happened.
        server.delay_s = min(2.0, max(0.1, 20 * behind)) if chaos.done < len(chaos.names) else 0.0
        if chaos.done < len(chaos.names) and (behind > 0 or time.monotonic() - chaos.last > EVERY_S):
            chaos.next()
        if time.monotonic() - begun > LIMIT_S:
            raise AssertionError(f"not through after {LIMIT_S} s\n{fleet.logs()}")
        if time.monotonic() - told > 15:
            told = time.monotonic()
            with suppress(AutointerpError):
                states, _ = fleet.look(ids)
                if not set(states.values()) <= {*runs.LIVE, "done", "withheld"}:
                    raise AssertionError(f"{states}\n{fleet.logs()}")
            say(f"{told - begun:5.0f} s: {chaos.done} events, {len(server.books) - asked:,} requests")
        time.sleep(0.05)
    provider.unsteady, server.delay_s = False, 0.0
    say(f"{time.monotonic() - begun:5.0f} s: no more faults")


def _check(
    fleet: fleet_.Fleet,
    states: dict[str, str],
    expected: dict[str, dict[str, pd.DataFrame]],
    books: Sequence[Entry],
    bodies: Sequence[Any],
    models: Sequence[str],
    found: Found,
) -> None:
    broken = found.violations.append
    rows = 0
    for run_id, tables in expected.items():
        if states[run_id] not in ("done", "withheld"):
            broken(f"{run_id} ended {states[run_id]}")
            continue
        for name, table in planted_runs.tables(fleet.results / run_id).items():
            rows += len(table)
            try:
                pd.testing.assert_frame_equal(table, tables[name])
            except AssertionError as error:
                broken(f"{run_id}: {name} differ: {' '.join(str(error).split())[:300]}")
    found.numbers["rows of tables compared with undisturbed runs"] = rows
    _check_ledger(fleet.ledger, sorted(expected), found)
    _check_money(fleet.ledger, books, bodies, models, found)


def _check_ledger(ledger: Ledger, ids: Sequence[str], found: Found) -> None:
    broken = found.violations.append
    judged: list[dict[str, object]] = []
    with ledger.read() as tx:
        for run_id in ids:
            judged += judgement_rows.judgement_rows(tx, run_id)
        planned = tx.execute(sa.select(sa.func.count()).where(job_rows.c.stage == "score")).scalar_one()
        unfinished = tx.execute(sa.select(sa.func.count()).where(job_rows.c.state != "done")).scalar_one()
        reserved = [row["reserved_usd"] for row in runs.all_runs(tx)]
        reserved += tx.execute(sa.select(budget_rows.c.reserved_usd)).scalars()
        open_calls = tx.execute(sa.select(sa.func.count()).where(call_rows.c.state == calls.OPEN)).scalar_one()
    outcomes = Counter(str(row["outcome"]) for row in judged)
    found.numbers |= {
        "judgements": len(judged),
        "judgements more than one of a question": len(judged) - len({(r["run_id"], r["job_key"]) for r in judged}),
    } | {f"judgements {name}": n for name, n in sorted(outcomes.items())}
    if len(judged) != planned or unfinished or open_calls:
        broken(
            f"{planned} judgements planned, {len(judged)} made; {unfinished} jobs unfinished, {open_calls} calls open"
        )
    if given_up := outcomes["gave_up"] + outcomes["provider_error"]:
        broken(f"{given_up} judgements ended in a provider error, though all such errors passed")
    if any(abs(usd) > 1e-9 for usd in reserved):
        broken(f"money is still set aside: {reserved}")


def _check_money(
    ledger: Ledger, books: Sequence[Entry], bodies: Sequence[Any], models: Sequence[str], found: Found
) -> None:
    """Each answer that was paid for beyond a question's first is a call of which the ledger says that it was lost."""
    broken = found.violations.append
    served: dict[str, list[Entry]] = defaultdict(list)
    for entry, body in zip(books, bodies, strict=True):
        served[json.dumps([body["model"], read_request(entry.protocol, body)[1]])].append(entry)
    with ledger.read() as tx:
        asked = tx.execute(sa.select(call_rows)).mappings().all()
        spent = sum(row["spent_usd"] for row in runs.all_runs(tx))
    rows: dict[str, list[Any]] = defaultdict(list)
    for row in asked:
        rows[json.dumps([row["judge"].partition("/")[2], row["user"]])].append(row)
    in_flight = [row for row in asked if row["state"] == calls.LOST and row["reason"] == "in flight at a kill"]
    dropped = [row for row in asked if row["state"] == calls.LOST and row["reason"] != "in flight at a kill"]
    again = extra = 0
    for question, entries in served.items():
        billed, known = sum(entry.billed for entry in entries), rows[question]
        again += billed > 1
        extra += max(0, billed - 1)
        lost = sum(row["state"] == calls.LOST for row in known)
        answers = sum(row["state"] not in (calls.LOST, calls.ERROR) for row in known)
        if len(entries) > len(known) or billed > lost + 1 or answers != 1:
            broken(f"asked {len(entries)} times, billed {billed}: the ledger has {[row['state'] for row in known]}")
    by_request = {row["request_id"]: row for row in asked if row["request_id"]}
    settled = [entry for entry in books if f"req_{entry.number}" in by_request]
    bill = sum(planted_runs.bill(model, [e for e, b in _of_model(settled, books, bodies, model)]) for model in models)
    if abs(bill - spent) > 1e-9 + 1e-9 * bill:
        broken(f"the ledger spent ${spent:.6f}, the provider's books say ${bill:.6f} for the same answers")
    found.numbers |= {
        "questions": len(served),
        "requests": len(books),
        "calls that a kill caught in flight": len(in_flight),
        "calls that the provider dropped": len(dropped),
        "questions paid for more than once, each explained by such a call": again,
        "answers paid for beyond the first": extra,
    }


def _of_model(
    settled: Sequence[Entry], books: Sequence[Entry], bodies: Sequence[Any], model: str
) -> list[tuple[Entry, Any]]:
    first = books[0].number
    pairs = [(entry, bodies[entry.number - first]) for entry in settled]
    return [(entry, body) for entry, body in pairs if body["model"] == model.partition("/")[2]]


def main() -> None:
    """Exit with 1 where anything was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.system.chaos", description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", type=int, default=1000, help="faults to inject, at least")
    parser.add_argument("--events", type=int, default=250, help="how many of them befall the fleet")
    parser.add_argument("--judgements", type=int, default=5000)
    parser.add_argument("--keep", type=Path, help="folder to leave everything in")
    given = parser.parse_args()
    os.environ.update(dict.fromkeys(planted_runs.KEYS, planted_runs.KEY))
    with tempfile.TemporaryDirectory(prefix="autointerp-chaos-") as scratch:
        os.environ["AUTOINTERP_CACHE"] = f"{scratch}/cache"
        found = break_service(
            given.keep or Path(scratch),
            seed=given.seed,
            faults=given.faults,
            judgements=given.judgements,
            models=planted_runs.MODELS,
            units=32,
            events=given.events,
            say=lambda line: print(line, flush=True),
        )
    print(found.table())
    sys.exit(bool(found.violations))


if __name__ == "__main__":
    main()
