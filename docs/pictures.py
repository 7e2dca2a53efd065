"""Makes docs/pictures/ from the demo's run: for each page of a study, the picture of the command that stands above it on the page.

`python docs/pictures.py` runs the demo into `.cache/pictures` unless it is there, and then the commands, a few seconds to a minute each.
Names of pages make only their pictures. The page on splitting shows the dictionaries of `make paper`, which has to be run before.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from autointerp.demo.assets import prepare
from autointerp.progress import quiet

DOCS = Path(__file__).parent
RESULTS = DOCS.parent / ".cache" / "pictures"
PICTURES = {
    "finding-features": "texts",
    "steering": "damage",
    "attribution": "graph",
    "neighbours": "map",
    "splitting": "tree",
    "completeness": "completeness",
    "categories": "generality",
}
"""The name of the picture in a study's folder, by page."""
LARGEST = 100_000
"""Bytes of a picture at most."""


def command_of(page: str) -> list[str]:
    """The words of the last command above a page's picture."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    above, found, _ = text.partition(f"](pictures/{page}.svg)")
    commands = re.findall(r"^```sh\n(autointerp (?:.*\\\n)*.*)\n```", above, re.MULTILINE)
    if not found or not commands:
        raise SystemExit(f"docs/{page}.md: no picture pictures/{page}.svg below a command")
    return shlex.split(commands[-1].replace("\\\n", " "))


def draw(page: str, stand_for: dict[str, str]) -> None:
    """Run a page's command, and store its picture. `stand_for`: paths of this machine by the page's words for them."""
    with TemporaryDirectory() as folder:
        words = [stand_for.get(word, word) for word in command_of(page)[1:]]
        run([*words, "--results", str(RESULTS), "--out", folder, "--quiet"])
        text = (Path(folder) / f"{PICTURES[page]}.svg").read_text(encoding="utf-8")
    if len(text.encode()) > LARGEST:
        raise SystemExit(f"{page}: the picture has {len(text.encode()):,} bytes, and {LARGEST:,} at most are kept")
    path = DOCS / "pictures" / f"{page}.svg"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")
    print(path, flush=True)


def main(pages: list[str]) -> None:
    """Make the pictures of pages, or of all."""
    assets = prepare(quiet)
    stand_for = {assets.model.name: str(assets.model), "text/*.jsonl": f"{assets.corpus_files[0].parent}/*.jsonl"}
    run_demo()
    for page in pages or PICTURES:
        draw(page, stand_for)


def run_demo() -> None:
    """Run the demo into the folder of the pictures unless it is there."""
    if not any(RESULTS.glob("demo-*/summary.json")):
        # Exit code 3: finished, with the headline withheld.
        run(["demo", "--results", str(RESULTS)], allowed=(0, 3))


def run(words: list[str], allowed: tuple[int, ...] = (0,)) -> None:
    """Call `autointerp`, and stop with a line if it ends otherwise than allowed."""
    done = subprocess.run(
        [sys.executable, "-m", "autointerp", *words], check=False, stdout=subprocess.DEVNULL, cwd=DOCS.parent
    )
    if done.returncode not in allowed:
        raise SystemExit(f"autointerp {shlex.join(words)} ended with exit code {done.returncode}")


if __name__ == "__main__":
    main(sys.argv[1:])
