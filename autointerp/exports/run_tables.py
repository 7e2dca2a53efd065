"""A finished run as exports read it: its summary, spec and tables, from the files of its results folder alone."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from autointerp.errors import UsageError
from autointerp.findings.summary import Summary, read_summary
from autointerp.json_values import none_if_nan

Row = dict[str, Any]
TABLES = ("units", "explanations", "judgements", "exemplars", "scorers")
"""The tables of a results folder. Early versions wrote no `explanations`, and runs without other evaluations have no `scorers`."""
_ALWAYS = ("units", "judgements", "exemplars")


@dataclass(frozen=True)
class RunTables:
    """The files of a finished run."""

    folder: Path
    summary: Summary

    @classmethod
    def read(cls, folder: Path) -> RunTables:
        """Read a results folder. Raises `UsageError` if the run is not finished or a file cannot be read."""
        return cls(folder, read_summary(folder))

    def rows(self, name: str) -> list[Row] | None:
        """The rows of a table as JSON values; None if the run has no table of that name. Raises `UsageError`."""
        path = self.folder / f"{name}.parquet"
        if not path.is_file():
            if name in _ALWAYS:
                raise UsageError(f"{path} does not exist: name a run whose folder is complete")
            return None
        try:
            rows = pq.read_table(path).to_pylist()
        except (OSError, pa.ArrowInvalid) as error:
            raise UsageError(f"{path} cannot be read ({str(error).splitlines()[0]}): run the spec again") from None
        return [{key: none_if_nan(value) for key, value in row.items()} for row in rows]

    @cached_property
    def units(self) -> list[Row]:
        """The units, controls included."""
        return self.rows("units") or []

    @cached_property
    def judgements(self) -> list[Row]:
        """The judgements."""
        return self.rows("judgements") or []

    @cached_property
    def exemplars(self) -> list[Row]:
        """The exemplars."""
        return self.rows("exemplars") or []

    @cached_property
    def spec(self) -> dict[str, Any]:
        """The keys of the spec as they stand in `spec.toml`. Raises `UsageError`."""
        path = self.folder / "spec.toml"
        try:
            return tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise UsageError(f"{path} cannot be read ({error}): name a run whose folder is complete") from None
