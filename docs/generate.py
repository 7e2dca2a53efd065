"""Writes the pages of docs/ that come from the code; `pages/` has a module for each.

`python docs/generate.py` writes them; with `--check` it writes nothing and exits with 1 when a page is out of date.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from pages import cli, corpora, dictionaries, index_files, python, spec, summary, training

DOCS = Path(__file__).parent
PAGES: dict[str, Callable[[], str]] = {
    "spec.md": spec.page,
    "spec.schema.json": spec.schema,
    "training.md": training.page,
    "cli.md": cli.page,
    "dictionaries.md": dictionaries.page,
    "corpora.md": corpora.page,
    "index-files.md": index_files.page,
    "summary.md": summary.page,
    "summary.schema.json": summary.schema,
    "python.md": python.page,
}


def main(arguments: list[str]) -> int:
    """Write every page, or with `--check` compare it. Returns the exit code."""
    stale = []
    for name, page in PAGES.items():
        path, text = DOCS / name, page()
        if "--check" not in arguments:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
    if stale:
        print(f"docs: out of date: {', '.join(stale)}: run `make docs`", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
