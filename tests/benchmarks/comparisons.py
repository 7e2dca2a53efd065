"""Comparisons of a million judgements in all: two judges, two dictionaries, and a matrix of two dictionaries and two judges.

Run with `python tests/benchmarks/comparisons.py [--judgements N]`. The runs are made up; the command is timed from its start to its page.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from support.results.graded_runs import write

BINS, PER_BIN = 10, 5
ARMS = 3
"""Features and neurons under their own explanation, and features under another's."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--judgements", type=int, default=1_000_000)
    arguments = parser.parse_args()
    designs = {
        "two judges": ("d", "xy"),
        "two dictionaries": ("de", "x"),
        "two dictionaries x two judges": ("de", "xy"),
    }
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for design, (dictionaries, judges) in designs.items():
        with tempfile.TemporaryDirectory(prefix="autointerp-comparisons-") as name:
            n_runs = len(dictionaries) * len(judges)
            units = arguments.judgements // (n_runs * BINS * PER_BIN * ARMS)
            names = [_run(Path(name), d, j, units) for d in dictionaries for j in judges]
            before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
            command = [sys.executable, "-m", "autointerp", "compare", *names, "--results", name]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        size = f"{n_runs} runs, {n_runs * units * BINS * PER_BIN * ARMS:,} judgements"
        print(
            f"{design:<32} {size}: {wall:.0f} s, {cpu:.0f} s of CPU, at most {after.ru_maxrss / 2**20:.1f} GiB so far"
        )


def _run(results: Path, dictionary: str, judge: str, units: int) -> str:
    rng = np.random.default_rng([ord(dictionary), ord(judge)])
    level = {
        kind: np.random.default_rng([ord(dictionary), place]).beta(1.5, 1.5, units) for place, kind in enumerate("fn")
    }
    features, neurons, shuffled = (
        rng.binomial(3, np.clip(mean, 0.01, 0.99)[:, None, None], (units, BINS, PER_BIN)).astype(float)
        for mean in (level["f"], level["n"], np.full(units, 0.1))
    )
    name = f"{dictionary}-{judge}"
    write(
        results / name,
        features,
        neurons,
        shuffled=shuffled,
        dictionary=dictionary,
        judge=f"openai/{judge}",
        texts=20_000,
    )
    return name


if __name__ == "__main__":
    main()
