"""Measures the weight of a report and the time until a browser first paints it, with that of another checkout if one is named.

    python tests/benchmarks/report_page.py [--units 128 2048] [--against CHECKOUT] [--repeats 5]

Both checkouts write the report of the same synthetic runs, half of whose units are features, and the same Chromium opens the two pages
in turn, so that the ratio is that of one run on one machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from playwright.sync_api import sync_playwright  # noqa: E402
from support.results import summaries  # noqa: E402

from autointerp.monitoring.doctor import find_chromium  # noqa: E402

_WRITE = "import sys; from pathlib import Path; from autointerp import report; report.write(Path(sys.argv[1]))"
_PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


def main() -> None:
    """Print a row for each number of units and checkout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, nargs="+", default=[128, 2048])
    parser.add_argument("--against", type=Path, help="another checkout of the project")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    checkouts = {"here": ROOT} | ({"there": options.against.resolve()} if options.against else {})
    print("| units | checkout | MB | first paint, s | ratio of weight | ratio of time |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as started:
        browser = started.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox", "--disable-gpu"])
        for n in options.units:
            run = Path(scratch) / f"run-{n}"
            summaries.make(run, n_features=n // 2, n_neurons=n // 2, wordy=True, studied=True, knows="sharp")
            pages = {name: _written(run, Path(scratch) / f"{name}-{n}", root) for name, root in checkouts.items()}
            seconds: dict[str, list[float]] = {name: [] for name in pages}
            for _ in range(options.repeats):
                for name, page in pages.items():
                    seconds[name].append(_first_paint(browser, page))
            weights = {name: page.stat().st_size for name, page in pages.items()}
            for name in pages:
                ratios = [weights["here"] / weights[name], median(seconds["here"]) / median(seconds[name])]
                print(
                    f"| {n} | {name} | {weights[name] / 1e6:.2f} | {median(seconds[name]):.2f} | {ratios[0]:.2f} | {ratios[1]:.2f} |",
                    flush=True,
                )


def _written(run: Path, folder: Path, root: Path) -> Path:
    """The report of a copy of the run, written by the code of a checkout."""
    shutil.copytree(run, folder)
    environment = os.environ | {"PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "-c", _WRITE, str(folder)], check=True, env=environment, cwd=root)
    return folder / "report.html"


def _first_paint(browser: Any, page: Path) -> float:
    """Seconds from the start of loading until the first paint of text, in a window of 1280 by 800."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    opened = context.new_page()
    opened.goto(page.as_uri())
    while (painted := opened.evaluate(_PAINTED)) is None:  # the page's own policy forbids wait_for_function
        opened.wait_for_timeout(20)
    context.close()
    return float(painted) / 1000


if __name__ == "__main__":
    main()
