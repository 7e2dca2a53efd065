"""The folder of a study: its finding, the page, and the parts that are kept so that an interrupted study continues."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from autointerp.errors import UsageError
from autointerp.json_values import plain
from autointerp.places import writing
from autointerp.report.figures import svg
from autointerp.studies.finding import Finding
from autointerp.studies.page import html
from sae.files import write_text, written_whole

SCHEMA_VERSION = 1
RESULT = "study.json"
PAGE = "study.html"
FIRST_ROWS = 10
"""Rows of each table in `study.json`, as text."""
_PARTS = "parts"
_MARK = ".study"


class StudyFolder:
    """A study's folder. Its name holds a hash of everything that decides the finding, so a finished one is never computed again."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def claim(self, name: str) -> None:
        """Mark the folder as that of the study `name`. Raises `UsageError` if it holds work of another one."""
        mark, is_used = self.path / _MARK, self.is_finished() or (self.path / _PARTS).exists()
        if is_used and mark.is_file() and (other := mark.read_text(encoding="utf-8")) != name:
            raise UsageError(f"{self.path} holds another study, {other}: name another folder")
        write_text(mark, name)

    def is_finished(self) -> bool:
        """Whether the folder holds a finding."""
        return (self.path / RESULT).is_file()

    def kept_frame(self, name: str, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """The table of a part that is finished already, or `make()`, which is then kept."""
        path = self.path / _PARTS / f"{name}.parquet"
        if not path.is_file():
            frame = make()
            with writing(self.path), written_whole(path) as partial:
                frame.to_parquet(partial, index=False)
        return pd.read_parquet(path)

    def kept_arrays(self, name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """The arrays of a part that is finished already, or `make()`, which are then kept."""
        path = self.path / _PARTS / f"{name}.npz"
        if not path.is_file():
            arrays = make()
            with writing(self.path), written_whole(path) as partial, partial.open("wb") as stream:
                np.savez(stream, **arrays)  # type: ignore[arg-type]  # its stub takes the names for options
        with np.load(path) as stored:
            return {name: stored[name] for name in stored.files}

    def write(self, finding: Finding, study: str, settings: dict[str, Any], inputs: dict[str, Any]) -> None:
        """Write the tables, the page, and `study.json` last. Raises `PlaceFailed`."""
        values = {
            "schema_version": SCHEMA_VERSION,
            "study": study,
            "title": finding.title,
            "sentences": finding.sentences,
            "cautions": finding.cautions,
            "values": finding.values,
            "settings": settings,
            "inputs": inputs,
            "tables": {listing.name: asdict(listing.shown(FIRST_ROWS)) for listing in finding.listings},
        }
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            for listing in finding.listings:
                with written_whole(self.path / f"{listing.name}.parquet") as partial:
                    listing.frame.to_parquet(partial, index=False)
            for picture in finding.pictures:
                write_text(self.path / f"{picture.name}.svg", svg.alone(picture.svg))
            write_text(self.path / PAGE, html(finding, study, settings, inputs))
            text = json.dumps(plain(values), indent=1, ensure_ascii=False, allow_nan=False)
            write_text(self.path / RESULT, text + "\n")
