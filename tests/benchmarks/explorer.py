"""The explorer's answers on an index of a million units, over HTTP: percentiles in milliseconds, processor time, and the server's memory.

    python tests/benchmarks/explorer.py FOLDER [--units 1000000] [--each 60]
    python tests/benchmarks/explorer.py FOLDER --opening

The index is written into FOLDER by a generator unless it is there; every 16th of its row groups of examples is of full size (25 contexts of
40 tokens for each unit), and units are opened in those. Every search is another one, so that none is remembered.

With `--opening` nothing is measured but the time from the start of `autointerp explore FOLDER` to the first page: its address, its rows over
HTTP, and the first rows in a browser.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

sys.path.insert(0, str(Path(__file__).parents[1]))

from playwright.sync_api import sync_playwright
from support import explorer_index
from support.explorer_server import served

from autointerp.explorer.index.folder import IndexFolder
from autointerp.explorer.web.library import Library
from autointerp.monitoring.doctor import find_chromium

LIMITS_MS = {"unit": 200.0}
LIMIT_MS, LIMIT_BYTES = 300.0, 2e9
BLANK_MS = 200.0
OPENING_S = 5.0
WARM_UP = 3
WATCH = """() => {
  window.blanks = [];
  let since = null;
  const look = now => {
    const list = document.getElementById('list').getBoundingClientRect();
    const rows = [...document.querySelectorAll('.hit')].map(row => [row, row.getBoundingClientRect()]);
    const shown = rows.filter(([, place]) => place.bottom > list.top && place.top < list.bottom);
    const blank = !shown.length || shown.some(([row]) => row.classList.contains('waiting'));
    if (blank && since === null) since = now;
    if (!blank && since !== null) { window.blanks.push(now - since); since = null; }
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}"""
"""Notes in a page how long a row on the screen was empty, in milliseconds."""


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder", type=Path)
    options.add_argument("--units", type=int, default=1_000_000)
    options.add_argument("--each", type=int, default=60)
    options.add_argument("--opening", action="store_true", help="measure the time to the first page alone")
    given = options.parse_args()
    if given.opening:
        return _opening(given.folder)
    if not IndexFolder(given.folder).is_finished():
        began = time.perf_counter()
        explorer_index.make(given.folder, n_features=given.units, n_neurons=0, labelled=1.0, detailed=16)
        print(f"index of {given.units:,} units written in {time.perf_counter() - began:.0f} s")
    context = get_context("spawn")
    queue, done = context.Queue(), context.Event()
    server = context.Process(target=_serve, args=(given.folder, queue, done))
    server.start()
    url = queue.get()
    try:
        return _measure(url, server.pid, given.units, given.each)
    finally:
        done.set()
        server.join()


def _opening(folder: Path) -> int:
    """The time from the command to the first page, three times: 1 if one was too long."""
    command = [
        sys.executable,
        "-m",
        "autointerp",
        "explore",
        str(folder),
        "--no-browser",
        "--results",
        str(folder.parent),
    ]
    most = 0.0
    for _ in range(3):
        began = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            url = process.stdout.readline().strip().rstrip("/")
            address_s = time.perf_counter() - began
            _get(f"{url}/api/rows?limit=100")
            rows_s = time.perf_counter() - began
            page_s = _first_rows_in_browser(url)
            process.send_signal(signal.SIGINT)
        most = max(most, rows_s + page_s)
        print(
            f"address after {address_s:.1f} s, rows after {rows_s:.1f}, shown by a running browser {page_s:.1f} later",
            flush=True,
        )
    print(f"first page             {most:.1f} s at most   limit {OPENING_S:.0f}")
    return int(most > OPENING_S)


def _first_rows_in_browser(url: str) -> float:
    """Seconds until an open browser shows the first rows; 0 without one."""
    found = find_chromium()
    if found is None:
        return 0.0
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        began = time.perf_counter()
        page.goto(url)
        page.locator(".hit:not(.waiting)").first.wait_for(timeout=120_000)
        seconds = time.perf_counter() - began
        browser.close()
    return seconds


def _serve(folder: Path, queue: Any, done: Any) -> None:
    with served(Library(folder.parent, folder)) as url:
        queue.put(url)
        done.wait()


def _measure(url: str, pid: int | None, units: int, each: int) -> int:
    began = time.perf_counter()
    _get(f"{url}/api/rows?limit=1")
    rows_s = time.perf_counter() - began
    _get(f"{url}/api/rows?limit=1&meaning=war")
    print(f"first rows after {rows_s:.1f} s, search by meaning after {time.perf_counter() - began:.1f} s")
    failed = 0
    for name, paths in _requests(units).items():
        times, cpu_s = [], _cpu_s(pid)
        for _ in range(WARM_UP + each):
            path = next(paths)
            started = time.perf_counter()
            _get(url + path)
            times.append(1000 * (time.perf_counter() - started))
        ordered = sorted(times[WARM_UP:])
        middle, high, most = ordered[len(ordered) // 2], ordered[int(0.95 * len(ordered))], ordered[-1]
        limit = LIMITS_MS.get(name, LIMIT_MS)
        failed += high > limit
        cpu_ms = 1000 * (_cpu_s(pid) - cpu_s) / (WARM_UP + each)
        print(
            f"{name:<22} p50 {middle:6.0f}   p95 {high:6.0f}   max {most:6.0f}   limit {limit:.0f}   CPU {cpu_ms:.0f}",
            flush=True,
        )
    failed += _scroll_in_browser(url)
    peak = 1024 * int(re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0])
    failed += peak > LIMIT_BYTES
    print(f"memory of the server   {peak / 1e9:.2f} GB at most   limit {LIMIT_BYTES / 1e9:.0f}")
    return 1 if failed else 0


def _scroll_in_browser(url: str) -> int:
    """How long rows on the screen are empty while a browser scrolls by the wheel and by jumps: 1 if for too long."""
    found = find_chromium()
    if found is None:
        print("scrolling              not measured: no Chromium on this machine")
        return 0
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.goto(f"{url}/?sort=-density")
        page.locator(".hit:not(.waiting)").first.wait_for(timeout=120_000)
        page.evaluate(WATCH)
        page.mouse.move(700, 600)
        for _ in range(100):
            page.mouse.wheel(0, 600)
            page.wait_for_timeout(16)
        for place in range(1, 30):
            page.evaluate("share => { const list = document.getElementById('list'); list.scrollTop = share * list.scrollHeight }",
                          (place * 7 % 30) / 30)  # fmt: skip
            page.wait_for_timeout(300)
        blanks = sorted(page.evaluate("window.blanks"))
        browser.close()
    most = blanks[-1] if blanks else 0.0
    print(f"scrolling              {len(blanks)} times empty rows, {most:.0f} ms at most   limit {BLANK_MS:.0f}")
    return int(most > BLANK_MS)


def _requests(units: int) -> dict[str, Iterator[str]]:
    """Endless different addresses of each kind."""
    rng = random.Random(0)

    def rows(make: Callable[[], dict[str, str]]) -> Iterator[str]:
        while True:
            yield f"/api/rows?{urlencode(make())}&limit=100"

    def unit(full: bool) -> Iterator[str]:
        groups = [g for g in range(units // 64) if g % 16 == 0 or not full]
        while True:
            yield f"/api/units/{quote(f'feature-{64 * rng.choice(groups) + rng.randrange(64)}')}"

    def scroll() -> Iterator[str]:
        while True:
            yield f"/api/rows?sort=-density&from={rng.randrange(max(1, units - 100))}&limit=100"

    def snippets() -> Iterator[str]:
        while True:
            yield f"/api/strongest?rows={','.join(str(rng.randrange(units)) for _ in range(20))}"

    def some(n: int) -> str:
        return " ".join(rng.sample(explorer_index.WORDS, n))

    def low() -> str:
        return f"{10 ** rng.uniform(-6, -3):.3g}..{10 ** rng.uniform(-2, -1):.3g}"

    return {
        "words, one": rows(lambda: {"q": f"word{rng.randrange(20_000)}"}),
        "words, two common": rows(lambda: {"q": some(2)}),
        "words, a beginning": rows(lambda: {"q": f"{rng.choice(explorer_index.WORDS)[:2]} w{rng.randrange(99)}"}),
        "meaning": rows(lambda: {"meaning": some(3)}),
        "filter": rows(lambda: {"density": low(), "grade": f"{rng.uniform(0, 2):.3f}.."}),
        "sort": rows(
            lambda: {"sort": rng.choice(["", "-"]) + rng.choice(["density", "maximum", "grade", "distinction"])}
        ),
        "filter, sort and words": rows(lambda: {"q": some(1), "density": low(), "sort": "-maximum"}),
        "scroll": scroll(),
        "20 strongest examples": snippets(),
        "unit": unit(full=True),
    }


def _cpu_s(pid: int | None) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _get(address: str) -> Any:
    with urllib.request.urlopen(address) as answer:
        return json.load(answer)


if __name__ == "__main__":
    raise SystemExit(main())
