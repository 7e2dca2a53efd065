"""The demo carried by the service and by one process, and the two compared row for row.

    python -m tests.system.service_demo                        # the demo's spec; trains its dictionary where none is cached
    python -m tests.system.service_demo -s units.features=8    # less of it

Redis, PostgreSQL, two harvesting workers, a judging and an aggregating one and beat run as processes of this machine, by the
documented commands, and end with it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

if __package__:  # python -m tests.system.service_demo
    sys.path.insert(0, str(Path(__file__).parents[1]))

import pandas as pd
from support.planted_world import runs as planted_runs
from support.services import fleet as fleet_

from autointerp.demo import spec as demo_spec
from autointerp.ledger import events
from autointerp.ledger.database import Ledger
from autointerp.pipeline import local
from autointerp.pipeline import prepare as preparation
from autointerp.pipeline.submit import submit
from autointerp.progress import Progress
from autointerp.spec.judge_sections import Judge
from autointerp.spec.spec import Spec


def compare(spec: Spec, folder: Path) -> list[str]:
    """Carry a spec both ways; prints what was compared, and returns what differs."""
    progress = Progress()
    with fleet_.running(folder / "fleet") as fleet:
        for name in ("activations-1", "activations-2"):
            fleet.start(name, *fleet_.ACTIVATIONS)
        fleet.start("judge", *fleet_.JUDGE)
        fleet.start("aggregate", *fleet_.AGGREGATE)
        fleet.start("beat", *fleet_.BEAT)
        started = time.monotonic()
        run_id = submit(fleet.ledger, spec, fleet.results, on_progress=progress.update).run_id
        print(f"submitted {run_id}", flush=True)
        state = fleet.wait([run_id], patience_s=7200, meanwhile=Follower(fleet, run_id))[run_id]
        by_fleet = time.monotonic() - started
        print(f"by the service: {state} after {by_fleet:.0f} s, its workers' start included", flush=True)
        started = time.monotonic()
        run = preparation.prepare(spec, folder / "one", progress)
        ledger = Ledger.in_folder(folder / "one")
        local.execute_run(run, ledger, progress, command=["autointerp", "run", "demo.toml"])
        ledger.close()
        print(f"by one process: {time.monotonic() - started:.0f} s", flush=True)
        return differences(fleet.results / run_id, run.folder)


class Follower:
    """Prints a run's events as they come."""

    def __init__(self, fleet: fleet_.Fleet, run_id: str) -> None:
        self.fleet, self.run_id, self.last = fleet, run_id, 0

    def __call__(self) -> None:
        with self.fleet.ledger.read() as tx:
            for event in events.of_run(tx, self.run_id, after=self.last):
                self.last = event["event_id"]
                print(f"  {event['text']}", flush=True)


def differences(found: Path, expected: Path) -> list[str]:
    """What differs between the tables of two runs; prints how many rows were compared."""
    different = []
    tables = planted_runs.tables(found)
    for name, table in planted_runs.tables(expected).items():
        try:
            pd.testing.assert_frame_equal(tables[name], table)
            print(f"{name}: {len(table):,} rows of {len(table.columns)} columns, all equal")
        except AssertionError as error:
            different.append(f"{name} differ: {' '.join(str(error).split())[:500]}")
    headlines = [planted_runs.summary(folder)["headline"] for folder in (found, expected)]
    if headlines[0] != headlines[1]:
        different.append(f"headlines differ: {headlines}")
    return different


def main(arguments: Sequence[str] | None = None) -> None:
    """Exit with 1 where anything differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.system.service_demo", description=__doc__)
    parser.add_argument("--judge", default="embedded")
    parser.add_argument("-s", "--set", action="append", default=[], metavar="KEY=VALUE", help="change the demo's spec")
    given = parser.parse_args(arguments)
    with suppress(KeyboardInterrupt), tempfile.TemporaryDirectory(prefix="autointerp-service-") as scratch:
        progress = Progress()
        spec = demo_spec.prepare_spec(Judge(model=given.judge), given.set, progress.update)
        different = compare(spec, Path(scratch))
        print("\n".join(different) or "The service and one process agree.")
        sys.exit(bool(different))
    sys.exit(130)


if __name__ == "__main__":
    main()
