"""The explorer's list of a run's judgements, over HTTP: percentiles in milliseconds of searches through prompts and replies.

    python tests/benchmarks/explorer_calls.py FOLDER [--calls 100000] [--each 20]

The run is written into FOLDER by a generator unless it is there. Every search is another one, so that none is remembered.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).parents[1]))

from support import explorer_calls
from support.explorer_calls import RUN
from support.explorer_server import served

from autointerp.explorer.web.library import Library
from autointerp.ledger import run_items
from autointerp.ledger.database import Ledger

PADDING = 150
"""Words of each prompt, about those of a real one."""


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder", type=Path)
    options.add_argument("--calls", type=int, default=100_000)
    options.add_argument("--each", type=int, default=20)
    given = options.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    ledger = Ledger.in_folder(given.folder)
    with ledger.read() as tx:
        is_there = any(run_items.counts(tx, RUN))
    if not is_there:
        explorer_calls.make(ledger, given.calls, units=512, padding=PADDING)
    with served(Library(given.folder, None), ledger) as url:
        began = time.perf_counter()
        first = _get(f"{url}/runs/{RUN}/api/calls?limit=100")
        print(f"{first['of']:,} items; first rows after {time.perf_counter() - began:.1f} s")
        for name, queries in _queries(given.calls).items():
            times = []
            for _ in range(given.each):
                began, query = time.perf_counter(), next(queries)
                answer = _get(f"{url}/runs/{RUN}/api/calls?{urlencode(query)}")
                times.append(1000 * (time.perf_counter() - began))
            ordered = sorted(times)
            whole = "" if answer["read"] == answer["to_read"] else f", {answer['read']:,} calls read"
            print(
                f"{name:<16} p50 {ordered[len(ordered) // 2]:5.0f}   p95 {ordered[int(0.95 * len(ordered))]:5.0f}{whole}"
            )
    ledger.close()
    return 0


def _queries(n: int) -> dict[str, Iterator[dict[str, str]]]:
    numbers = [str(7_919 * each % n) for each in range(1, 1_000)]
    return {
        "filter": iter([{"unit": f"feature-{int(each) % 512}", "sort": "-cost"} for each in numbers]),
        "word in prompts": iter([{"q": f"mark{each}"} for each in numbers]),
        "words in both": iter([{"q": f"copper {each}"} for each in numbers]),
        "unscored, word": iter([{"q": f"mark{each}", "state": "unscored"} for each in reversed(numbers)]),
        "calls": iter([{"q": f"number {each}", "of": "calls"} for each in numbers]),
    }


def _get(address: str) -> dict[str, int]:
    with urllib.request.urlopen(address) as answer:
        found: dict[str, int] = json.load(answer)
        return found


if __name__ == "__main__":
    sys.exit(main())
