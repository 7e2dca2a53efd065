"""The comparisons in a results folder, and the runs that each is about: links for the index and for the runs' reports."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

FOLDER = "comparisons"


@dataclass(frozen=True)
class ComparisonLink:
    """One comparison."""

    href: str
    """Address of its page, relative to the results folder."""
    titles: tuple[str, ...]
    """Its first lines: verdicts, or how many differences can be told."""
    runs: tuple[str, ...]


def read(results: Path) -> tuple[list[ComparisonLink], list[str]]:
    """The comparisons of a results folder, the latest first, and the names of those that cannot be read."""
    links, unreadable = [], []
    files = [path for path in (results / FOLDER).glob("*/comparison.json") if path.with_suffix(".html").is_file()]
    for path in sorted(files, key=lambda path: (path.stat().st_mtime, path.parent.name), reverse=True):
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            titles = values.get("titles") or [pair["sentence"] for pair in values["pairs"]]
            runs = [str(run) for side in values["sides"] for run in side]
            href = f"{FOLDER}/{quote(path.parent.name)}/comparison.html"
            links.append(ComparisonLink(href, tuple(map(str, titles)), tuple(runs)))
        except (OSError, KeyError, TypeError, AttributeError, ValueError):
            unreadable.append(f"{FOLDER}/{path.parent.name}")
    return links, unreadable


def of_run(folder: Path) -> list[ComparisonLink]:
    """The comparisons beside a run's folder that it is part of."""
    return [link for link in read(folder.parent)[0] if folder.name in link.runs]
