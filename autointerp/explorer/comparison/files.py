"""The files of comparisons in the folder of an index: written whole, and ignored once one of the two indexes is another or a file is lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from autointerp.errors import UsageError
from autointerp.explorer.comparison.relation import RESULTS, Side
from autointerp.explorer.comparison.schema import MATCHES, SCHEMA_VERSION, Matching
from autointerp.explorer.index.folder import COMPRESSION
from autointerp.explorer.index.schema import UNIT_ROWS
from autointerp.places import writing
from sae.files import write_text, written_whole

_PREFIX = "matches-"
_DIGITS = 12
"""Digits of the other index's identity in the names of the files."""
_TABLES = ("judgements.parquet", "units.parquet")


def table_path(folder: Path, other: str) -> Path:
    """Where the matches with an index of the identity `other` are."""
    return folder / f"{_PREFIX}{other[:_DIGITS]}.parquet"


def read(side: Side, other: str) -> Matching | None:
    """The finished comparison of an index with that of the identity `other`; None if there is none."""
    found = _read(table_path(side.folder.path, other).with_suffix(".json"))
    return found if found and (found.own, found.other) == (side.about.identity, other) else None


def table(folder: Path, other: str, *, columns: Sequence[str] | None = None, group: int | None = None) -> pa.Table:
    """Matches with an index of the identity `other`: some columns, of one row group or of all. Raises `UsageError` if the file is damaged."""
    path = table_path(folder, other)
    try:
        with pq.ParquetFile(path) as file:
            return file.read(columns) if group is None else file.read_row_group(group, columns)
    except (OSError, pa.ArrowException) as error:
        raise UsageError(f"{path} cannot be read ({_cause(error)}): delete it and compare again") from None


def read_all(side: Side) -> Iterator[Matching]:
    """The finished comparisons of an index, by the ids of the other runs."""
    found = [_read(path) for path in side.folder.path.glob(f"{_PREFIX}*.json")]
    yield from sorted(
        (each for each in found if each and each.own == side.about.identity), key=lambda each: each.run or ""
    )


def write(side: Side, matching: Matching, rows: pa.Table | None) -> None:
    """Write a comparison from one side; the JSON last. Comparisons of what the index was before are removed. Raises `PlaceFailed`."""
    folder = side.folder.path
    path = table_path(folder, matching.other)
    with writing(folder):
        if rows is not None:
            with written_whole(path) as partial:
                pq.write_table(rows.cast(MATCHES), partial, row_group_size=UNIT_ROWS, compression=COMPRESSION)
        for stale in folder.glob(f"{_PREFIX}*.json"):
            known = _read(stale)
            if known is None or known.own != side.about.identity:
                stale.unlink(missing_ok=True)
                if stale.with_suffix(".parquet") != path:
                    stale.with_suffix(".parquet").unlink(missing_ok=True)
        write_text(path.with_suffix(".json"), matching.model_dump_json())


def results_hash(a: Side, b: Side) -> str:
    """Hash of the results of two indexes' runs, from which their grades are compared; empty if not both have a run."""
    if a.run is None or b.run is None:
        return ""
    digest = sha256()
    for run in (a.run, b.run):
        for name in _TABLES:
            path = run / name
            digest.update(f"{path.stat().st_size if path.is_file() else None}\n".encode())
        digest.update((run / RESULTS).read_bytes())
    return digest.hexdigest()


def _read(path: Path) -> Matching | None:
    """The JSON of a comparison; None if it or its table is missing or damaged, or if it is of another version."""
    try:
        found = Matching.model_validate_json(path.read_bytes())
        if found.relation != "apart":
            pq.read_metadata(path.with_suffix(".parquet"))
    except (OSError, ValidationError, pa.ArrowException):
        return None
    return found if found.schema_version == SCHEMA_VERSION else None


def _cause(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
