"""The nearest directions of all features of one dictionary, and its groups: seconds and memory.

Run with `python tests/benchmarks/neighbours.py [--features N] [--width D] [--threads T]`. The directions are random. CPU seconds are
those of all threads: on an idle machine the wall time is about theirs divided by the threads. Memory is what the computation adds to
the process at its peak.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Callable
from typing import TypeVar

import torch

from sae.studies.direction_tree import nested_groups
from sae.studies.nearest_directions import Directions, nearest_of_all

T = TypeVar("T")
NEAREST = 10
GROUPS = (200, 34, 6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--features", type=int, default=65_536)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    decoder = torch.randn(arguments.features, arguments.width, generator=torch.Generator().manual_seed(0))
    directions = Directions((decoder,), torch.device("cpu"))
    print(
        f"{arguments.features:,} features x {arguments.width}, {arguments.threads} threads, load average {os.getloadavg()[0]:.1f}\n"
    )
    print("| | wall s | CPU s | peak MiB added |\n|---|---|---|---|")
    _measured(f"nearest {NEAREST} of all", lambda: nearest_of_all(directions, NEAREST, lambda done, total: None))
    rows = directions.rows(torch.arange(len(directions)))
    _measured(f"{GROUPS[0]} groups", lambda: nested_groups(rows, GROUPS, 0))


def _measured(name: str, compute: Callable[[], T]) -> T:
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    result = compute()
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    added = (after.ru_maxrss - before.ru_maxrss) / 1024
    print(f"| {name} | {time.monotonic() - started:.0f} | {cpu:.0f} | {added:,.0f} |", flush=True)
    return result


if __name__ == "__main__":
    main()
