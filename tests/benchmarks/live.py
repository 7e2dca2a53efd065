"""The live page through HTTP on a real model: percentiles in milliseconds, tokens a second, and processor time.

    python tests/benchmarks/live.py FOLDER [--each 20] [--float32]

FOLDER is an index, such as results/demo-.../index. Measured are, on a text of about 30 tokens that is another one each time: the reading after
the last key; the time from a moved slider to the first token of the steered continuation, and its tokens a second, beside an unchanged one
that is continued too and beside one that is known; and both again while a second visitor continues a text of their own, as well as a page of
the explorer meanwhile. `cpu` is the processor time of the server and the model for one answer. `--float32` takes away bfloat16 and all
instructions beyond AVX2, as on a processor without them.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.explorer_server import serving

from autointerp.explorer.web.app import application
from autointerp.explorer.web.guard import Access
from autointerp.explorer.web.library import Library

AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
LIMITS_MS = {"reading": 300.0, "first token": 500.0}
LEAST_PER_S = 8.0
WARM_UP = 2
TOKENS = 20
TEXT = (
    "The committee of the town met on the third day of March to decide whether the old bridge over the river should be closed to heavy"
    " vehicles, number"
)


class Measured(NamedTuple):
    """Milliseconds of each answer, and processor seconds for one; `per_s` are tokens a second, if tokens are counted."""

    times_ms: list[float]
    cpu_s: float
    per_s: list[float]


class Visitor:
    """Asks the server, one question after another, of a text that is never the same."""

    def __init__(self, url: str, unit: str, first: int) -> None:
        self.url, self.unit = url, unit
        self._numbers = itertools.count(first)

    def text(self) -> str:
        """A new text."""
        return f"{TEXT} {next(self._numbers)}"

    def read(self) -> tuple[float, float | None]:
        """Seconds of a reading."""
        began = time.perf_counter()
        list(self._lines("read", {"text": self.text(), "units": [self.unit]}))
        return time.perf_counter() - began, None

    def steer(self, text: str | None = None, factor: float = 2.0) -> tuple[float, float | None]:
        """Seconds to the first token of a steered continuation, and its tokens a second."""
        body = {"text": text or self.text(), "units": [{"unit": self.unit, "factor": factor}], "tokens": TOKENS}
        began = time.perf_counter()
        at = [time.perf_counter() for line in self._lines("continue", body) if "steered" in line]
        return at[0] - began, (len(at) - 1) / (at[-1] - at[0])

    def page(self) -> tuple[float, float | None]:
        """Seconds of a search by words."""
        began = time.perf_counter()
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=600)
        connection.request("GET", f"/api/rows?q=the&limit=50&density=0..{1 + next(self._numbers)}")
        connection.getresponse().read()
        connection.close()
        return time.perf_counter() - began, None

    def _lines(self, path: str, body: Any) -> Iterator[Any]:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=600)
        connection.request("POST", f"/api/live/{path}", json.dumps(body), {"Origin": self.url})
        answer = connection.getresponse()
        if answer.status != 200:
            raise SystemExit(answer.read().decode())
        yield from map(json.loads, answer)
        connection.close()


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder", type=Path)
    options.add_argument("--each", type=int, default=20)
    options.add_argument("--float32", action="store_true")
    given = options.parse_args()
    if given.float32:
        os.environ.update(AVX2)
    results = given.folder.resolve().parents[1]
    app = application(Library(results, given.folder), Access())
    with serving(app) as url:
        visitor = Visitor(url, _strong_unit(url), 1_000)
        began = time.perf_counter()
        list(visitor._lines("open", {}))
        print(f"model opened in {time.perf_counter() - began:.1f} s")
        pids = [os.getpid(), app.state.live.process.pid]
        return _measure(visitor, Visitor(url, visitor.unit, 500_000), pids, given.each)


def _measure(visitor: Visitor, other: Visitor, pids: list[int], each: int) -> int:
    known, factors = visitor.text(), itertools.cycle([x / 2 for x in range(-10, 11) if x])
    visitor.steer(known)
    print(f"{'':<34} {'p50':>6} {'p95':>6} {'cpu':>6}   limit      tokens a second p5, p50")
    failed = [
        _row("reading", "reading", _repeat(visitor.read, each, pids)),
        _row(
            "slider, unchanged one known",
            "first token",
            _repeat(lambda: visitor.steer(known, next(factors)), each, pids),
        ),
        _row("slider, both", "first token", _repeat(visitor.steer, each, pids)),
        _row("page of the explorer", "", _repeat(visitor.page, each, pids)),
    ]
    with _busy(other):
        print("while a second visitor continues a text")
        _row("reading", "reading", _repeat(visitor.read, each, pids))
        _row("slider, both", "first token", _repeat(visitor.steer, each, pids))
        _row("page of the explorer", "", _repeat(visitor.page, each, pids))
    return int(any(failed))


def _repeat(ask: Callable[[], tuple[float, float | None]], each: int, pids: list[int]) -> Measured:
    for _ in range(WARM_UP):
        ask()
    cpu = sum(map(_cpu_s, pids))
    found = [ask() for _ in range(each)]
    spent = (sum(map(_cpu_s, pids)) - cpu) / each
    return Measured(sorted(1000 * seconds for seconds, _ in found), spent, sorted(p for _, p in found if p is not None))


def _row(name: str, limit: str, measured: Measured) -> bool:
    """Print a row; whether it exceeds its limit."""
    times, per_s = measured.times_ms, measured.per_s
    middle, high = times[len(times) // 2], times[int(0.95 * (len(times) - 1))]
    most = LIMITS_MS.get(limit)
    speed = (
        f"   {per_s[int(0.05 * len(per_s))]:.1f}, {per_s[len(per_s) // 2]:.1f} (at least {LEAST_PER_S:.0f})"
        if per_s
        else ""
    )
    said = f"{most:5.0f}" if most else "     "
    print(f"{name:<34} {middle:6.0f} {high:6.0f} {1000 * measured.cpu_s:6.0f}   {said}   {speed}", flush=True)
    return bool(most and high > most) or bool(per_s and per_s[len(per_s) // 2] < LEAST_PER_S)


@contextmanager
def _busy(visitor: Visitor) -> Iterator[None]:
    """Within the block, a visitor has one continuation after another."""
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            visitor.steer()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _strong_unit(url: str) -> str:
    """A feature that is often active, and not always."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=600)
    connection.request("GET", "/api/rows?kind=feature&density=0.001..0.02&sort=-density&limit=1")
    unit = json.loads(connection.getresponse().read())["rows"][0]["unit_id"]
    connection.close()
    return str(unit)


def _cpu_s(pid: int) -> float:
    """Processor seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
