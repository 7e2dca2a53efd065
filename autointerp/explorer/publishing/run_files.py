"""The files of a run that are published beside its pages: the report, and the tables that it leads to."""

from __future__ import annotations

import re
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

from autointerp.explorer.publishing.folder import PublishedFolder
from autointerp.explorer.publishing.private import Private
from autointerp.monitoring.input_names import InputNames

REPORT, SPEC = "report.html", "spec.toml"
_TEXTS = (REPORT, "report.md", "summary.json")
_TABLES = ("units", "explanations", "judgements", "exemplars", "scorers")
_OF_THE_RUN = re.compile(r'<a href="([\w.-]+)">([^<]*)</a>')


def write(folder: PublishedFolder, run: Path, private: Private) -> dict[str, int]:
    """Write the files of a run. Returns their sizes. Its spec stays out, because it may name servers; so do links to files that are not there."""
    at, there = (
        f"runs/{run.name}/",
        {name for name in (*_TEXTS, *(f"{table}.parquet" for table in _TABLES)) if (run / name).is_file()},
    )
    sizes = {}
    for name in sorted(there):
        data = (run / name).read_bytes()
        if name in _TEXTS:
            text = private.without(data.decode("utf-8", "replace"))
            if name == REPORT:
                text = _OF_THE_RUN.sub(lambda link: link[0] if link[1] in there else link[2], text)
            data = text.encode()
        folder.put(at + name, data)
        sizes[name] = len(data)
    return sizes


def spec_of(run: Path) -> dict[str, Any]:
    """A run's spec; empty if it cannot be read."""
    with suppress(OSError, ValueError):
        return tomllib.loads((run / SPEC).read_text(encoding="utf-8"))
    return {}


def names_of(run: Path) -> dict[str, str]:
    """The short names of a run's judge, subject and dictionary."""
    with suppress(OSError, ValueError):
        short = InputNames.of((run / SPEC).read_text(encoding="utf-8")).short
        return dict(zip(InputNames._fields, short, strict=True))
    return {}
