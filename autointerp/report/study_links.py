"""The studies in a run's folder, such as steering and attribution: links for the run's report."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

FOLDER = "studies"


@dataclass(frozen=True)
class StudyLink:
    """One study of the run's dictionary."""

    href: str
    """Address of its page, relative to the run's folder."""
    title: str
    sentences: tuple[str, ...]


def of_run(folder: Path) -> list[StudyLink]:
    """The studies in a run's folder, the latest first. Those that cannot be read are left out."""
    links = []
    files = (folder / FOLDER).glob("*/study.json")
    for path in sorted(files, key=lambda path: (-path.stat().st_mtime, path.parent.name)):
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            sentences = tuple(map(str, [*values["cautions"], *values["sentences"]]))
            links.append(StudyLink(f"{FOLDER}/{quote(path.parent.name)}/study.html", str(values["title"]), sentences))
        except (OSError, KeyError, TypeError, ValueError):
            continue
    return links
