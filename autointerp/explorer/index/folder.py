"""The folder of an index: its files are written whole or not at all, and read row group by row group."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from autointerp.errors import UsageError
from autointerp.explorer.index import schema
from autointerp.explorer.index.schema import About, Cluster
from autointerp.places import writing
from sae.files import write_text, written_whole

ABOUT = "index.json"
UNITS, EXAMPLES, LABELS, MAP = "units.parquet", "examples.parquet", "labels.parquet", "map.parquet"
CLUSTERS = "clusters.json"
COMPRESSION = "zstd"
_END = b"PAR1"

_SCHEMAS = {UNITS: schema.UNITS, EXAMPLES: schema.EXAMPLES, LABELS: schema.LABELS, MAP: schema.MAP}
_CLUSTERS: TypeAdapter[list[Cluster]] = TypeAdapter(list[Cluster])


class Unreadable(UsageError):
    """The index is not finished, or damaged."""


class IndexFolder:
    """A folder with the files of one index. It is complete once it has `index.json`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def is_finished(self) -> bool:
        """Whether the index is complete."""
        return (self.path / ABOUT).is_file()

    @cached_property
    def about(self) -> About:
        """`index.json`. Raises `UsageError` if it is missing, damaged or of a later version, and if a table is not whole."""
        try:
            about = About.model_validate_json((self.path / ABOUT).read_bytes())
        except FileNotFoundError:
            raise Unreadable(f"{self.path} has no finished index: make it with 'autointerp index'") from None
        except (OSError, ValidationError) as error:
            raise Unreadable(
                f"{self.path / ABOUT} cannot be read ({str(error).splitlines()[0]}): make it again with 'autointerp index'"
            ) from None
        if about.schema_version > schema.SCHEMA_VERSION:
            raise UsageError(
                f"{self.path} was written by a later version (schema {about.schema_version}): update autointerp"
            )
        for name in _SCHEMAS:
            needed, path = name in (UNITS, EXAMPLES), self.path / name
            if (needed or path.exists()) and not _is_whole(path):
                kind = Unreadable if needed else UsageError
                raise kind(f"{path} is missing or damaged: copy it again, or remove it and run 'autointerp index'")
        return about

    def about_if_readable(self) -> About | None:
        """`index.json`; None if it is missing or damaged, so that the index has to be made. Raises `UsageError` for a later version."""
        try:
            return self.about
        except Unreadable:
            return None

    def has(self, name: str) -> bool:
        """Whether the folder has this file."""
        return (self.path / name).is_file()

    def is_current(self, name: str) -> bool:
        """Whether a file is there with every column of its schema, and made by its method or a later one. An earlier version wrote fewer
        columns, or other values."""
        if not self.has(name):
            return False
        known, wanted = pq.read_schema(self.path / name), _SCHEMAS[name]
        return set(wanted.names) <= set(known.names) and _method(wanted) <= _method(known)

    def unit(self, row: int) -> dict[str, Any]:
        """One row of `units.parquet`. Raises `IndexError` if there is none."""
        if not 0 <= row < self._units.metadata.num_rows:
            raise IndexError(f"the index has no row {row}")
        group, place = divmod(row, schema.UNIT_ROWS)
        found: dict[str, Any] = self._last_units(group).slice(place, 1).to_pylist()[0]
        return found

    def examples(self, row: int) -> list[dict[str, Any]]:
        """A unit's rows of `examples.parquet`, in their order; none if it has no example."""
        number = self.group_of(row)
        if number is None:
            return []
        group = self._last_examples(number)
        found: list[dict[str, Any]] = group.filter(pc.equal(group["row"], row)).to_pylist()
        return found

    def group_of(self, row: int) -> int | None:
        """The number of the row group of `examples.parquet` with a unit's examples, or None if it has no example."""
        place = bisect_right(self.about.groups, row, key=lambda group: group[0]) - 1
        if place < 0:
            return None
        first, n_rows, number = self.about.groups[place]
        return number if row < first + n_rows else None

    def group(self, number: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Some columns of a row group of `examples.parquet`."""
        return self._examples.read_row_group(number, columns=columns and list(columns))

    def table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Some columns of a file for all rows, null where an earlier version wrote none; an empty table if the folder lacks the file."""
        if not self.has(name):
            return _SCHEMAS[name].empty_table().select(columns or _SCHEMAS[name].names)
        known = pq.read_schema(self.path / name).names
        read = [column for column in columns or _SCHEMAS[name].names if column in known]
        table = pq.read_table(self.path / name, columns=read, memory_map=True)
        return _with_columns(table, name, columns or _SCHEMAS[name].names)

    def clusters(self) -> list[Cluster]:
        """`clusters.json`; none if the folder lacks it."""
        return _CLUSTERS.validate_json((self.path / CLUSTERS).read_bytes()) if self.has(CLUSTERS) else []

    @contextmanager
    def writer(self, name: str) -> Iterator[pq.ParquetWriter]:
        """Writes one of the Parquet files: each table given to `write_table` is a row group. The file appears when the block ends without
        an error. Raises `PlaceFailed`."""
        with (
            writing(self.path),
            written_whole(self.path / name) as partial,
            pq.ParquetWriter(partial, _SCHEMAS[name], compression=COMPRESSION) as writer,
        ):
            yield writer

    def write_table(self, name: str, rows: pa.Table) -> None:
        """Write `units.parquet`, `labels.parquet` or `map.parquet` from a table in memory; missing columns become null. Raises `PlaceFailed`."""
        with self.writer(name) as writer:
            whole = _with_columns(rows, name, _SCHEMAS[name].names)
            writer.write_table(whole.cast(_SCHEMAS[name]), row_group_size=schema.UNIT_ROWS)

    def write_clusters(self, clusters: Sequence[Cluster]) -> None:
        """Write `clusters.json`. Raises `PlaceFailed`."""
        with writing(self.path):
            write_text(self.path / CLUSTERS, _CLUSTERS.dump_json(list(clusters)).decode())

    def finish(self, about: About) -> None:
        """Write `index.json`, which completes the index. Raises `PlaceFailed`."""
        with writing(self.path):
            write_text(self.path / ABOUT, about.model_dump_json(indent=None))

    @cached_property
    def _last_units(self) -> Callable[[int], pa.Table]:
        """The row group of `units.parquet` that was read last is kept: units are mostly read one after another."""
        return lru_cache(maxsize=1)(lambda number: self._units.read_row_group(number))

    @cached_property
    def _last_examples(self) -> Callable[[int], pa.Table]:
        return lru_cache(maxsize=1)(lambda number: self.group(number))

    @cached_property
    def _units(self) -> pq.ParquetFile:
        return pq.ParquetFile(self.path / UNITS, memory_map=True)

    @cached_property
    def _examples(self) -> pq.ParquetFile:
        return pq.ParquetFile(self.path / EXAMPLES, memory_map=True)


def _method(of: pa.Schema) -> int:
    return int((of.metadata or {}).get(schema.METHOD, 1))


def _with_columns(table: pa.Table, name: str, columns: Sequence[str]) -> pa.Table:
    """These columns of a table, null where it lacks one."""
    for column in columns:
        if column not in table.column_names:
            table = table.append_column(column, pa.nulls(len(table), _SCHEMAS[name].field(column).type))
    return table.select(list(columns))


def _is_whole(path: Path) -> bool:
    """Whether a Parquet file is there up to its end: a copy that was interrupted has none."""
    try:
        with path.open("rb") as file:
            file.seek(-len(_END), os.SEEK_END)
            return file.read() == _END
    except OSError:
        return False
