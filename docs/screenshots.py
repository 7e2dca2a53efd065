"""Makes the pictures of the explorer in docs/pictures/: its pages on the demo's dictionary, in Chromium.

`python docs/screenshots.py` runs and indexes the demo in `.cache/pictures` unless that is done, then trains and evaluates a dictionary of 1,024
features on a quarter of the demo's training text, so that two can be compared: about a quarter of an hour, once. Names make only their pictures.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from pictures import DOCS, RESULTS, run, run_demo
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from autointerp.demo.assets import prepare
from autointerp.monitoring.doctor import find_chromium
from autointerp.progress import quiet

SMALLER = RESULTS.parent / "dictionaries" / "smaller"
WIDTH, SCALE = 1200, 1.25
LARGEST = 160_000
"""Bytes of a picture at most."""
TEXT = "The president of the company said today that the army would not enter the war."


class Shot(NamedTuple):
    address: str
    shown: str
    """Matches something once the page has its data."""
    height: int = 640
    top: str = ""
    """Matches the first thing that the picture shows, if that is not the head of the page."""
    rest_ms: int = 800
    """How long the page is left alone before the picture, for parts that come later."""


SHOTS = {
    "explorer-search": Shot("/?explained=yes&distinction=0.8..&sort=-grade", ".hit .window", 640),
    "explorer-unit": Shot("/u/feature-982", ".ex", 760),
    "explorer-map": Shot("/map", "#atlas[aria-busy=false]", 640),
    "explorer-try": Shot(
        f"/try#text={TEXT.replace(' ', '+')}&f=feature-982:1&control=1&tokens=24",
        "#pace:has-text('tokens')",
        1010,
        rest_ms=9000,
    ),
    "explorer-compare": Shot("/compare?with=OTHER&show=splits", ".pair-row .id", 800, top=".part:has(> .found)"),
    "explorer-judgements": Shot("/runs/RUN/calls?q=army&kind=grade", ".hit .window", 640),
}
"""By the name of the picture."""


def indexed(name: str) -> str:
    """The id of the run of a name, with an index."""
    [summary] = RESULTS.glob(f"{name}-*/summary.json")
    if not (summary.parent / "index" / "index.json").exists():
        run(["index", summary.parent.name, "--results", str(RESULTS)])
    return summary.parent.name


def run_smaller() -> None:
    """Train the smaller dictionary, and evaluate its features, unless it is done."""
    assets = prepare(quiet)
    if not (SMALLER / "train.json").exists():
        training = str(DOCS.parent / "autointerp" / "demo" / "training.toml")
        sources = json.dumps([str(path) for path in assets.corpus_files])
        changes = {
            "subject.model": assets.model,
            "corpus.sources": sources,
            "train.d_sae": 1024,
            "train.tokens": 600_000,
        }
        run(["train", training, *_set(changes), "--out", str(SMALLER)])
    if not any(RESULTS.glob("smaller-*/summary.json")):
        [spec] = RESULTS.glob("demo-*/spec.toml")
        changes = {"name": "smaller", "dictionary.path": SMALLER, "units.neurons": 0}
        without = {"controls.random_dictionary": "false", "controls.random_subject": "false"}
        run(["run", str(spec), *_set(changes | without), "--results", str(RESULTS)], allowed=(0, 3))


def _set(changes: dict[str, Any]) -> list[str]:
    return [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]


@contextmanager
def explorer(run_id: str) -> Iterator[str]:
    """The address of the explorer while it is open."""
    command = [
        sys.executable,
        "-m",
        "autointerp",
        "explore",
        run_id,
        "--results",
        str(RESULTS),
        "--no-browser",
        "--quiet",
    ]
    with subprocess.Popen(command, cwd=DOCS.parent, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip().rstrip("/")
        finally:
            process.terminate()


def take(page: Page, shot: Shot, address: str) -> bytes:
    """The picture of a page, in 256 colours."""
    page.set_viewport_size({"width": WIDTH, "height": shot.height})
    page.goto(address)
    page.locator(shot.shown).first.wait_for(timeout=120_000)
    page.wait_for_timeout(shot.rest_ms)
    if shot.top:
        page.locator(shot.top).first.evaluate("node => window.scrollBy(0, node.getBoundingClientRect().top)")
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    packed = io.BytesIO()
    image.save(packed, "PNG", optimize=True)
    return packed.getvalue()


def main(names: list[str]) -> None:
    """Make the pictures of these names, or all."""
    run_demo()
    run_smaller()
    words = {"RUN": indexed("demo"), "OTHER": indexed("smaller")}
    with explorer(words["RUN"]) as url, sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=find_chromium(), args=["--no-sandbox", "--enable-unsafe-swiftshader"]
        )
        for name in names or SHOTS:
            page = browser.new_page(device_scale_factor=SCALE, color_scheme="light", reduced_motion="reduce")
            address = SHOTS[name].address
            for word, meant in words.items():
                address = address.replace(word, meant)
            picture = take(page, SHOTS[name], url + address)
            if len(picture) > LARGEST:
                raise SystemExit(f"{name}: the picture has {len(picture):,} bytes, and {LARGEST:,} at most are kept")
            path = DOCS / "pictures" / f"{name}.png"
            path.write_bytes(picture)
            print(path, f"{len(picture):,} bytes", flush=True)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
