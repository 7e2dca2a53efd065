"""Labels of an index: the explanations and grades of a finished run, and those that are added later."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from autointerp.explorer.index import schema
from autointerp.explorer.index.folder import LABELS, IndexFolder
from autointerp.explorer.index.inputs import IndexInputs
from autointerp.explorer.index.schema import About, DictionaryAbout
from autointerp.locks import AlreadyLocked, locked
from autointerp.spec.spec import load

LOCK = ".labels.lock"
PATIENCE_S, _LOOK_S = 30.0, 0.05
"""How long a writer waits for another one, which needs a second for a million labels."""
_COLUMNS = ("unit_id", "explanation", "mean_score", "distinction")


def write(folder: IndexFolder, inputs: IndexInputs) -> None:
    """Write the labels that the index's run gives in place of those that it gave before; those of other sources are kept."""
    if inputs.run is None:
        return
    spec, source = load(inputs.run / "spec.toml"), f"run:{inputs.run.name}"
    explainer = None if spec.explain.given else spec.explained_by.model
    known = pq.read_schema(inputs.run / "units.parquet").names
    table = pq.read_table(inputs.run / "units.parquet", columns=[name for name in _COLUMNS if name in known])
    own = [
        {
            "row": row,
            "explanation": unit["explanation"],
            "source": source,
            "judge": spec.judge.model,
            "grade": unit["mean_score"],
            "distinction": unit.get("distinction"),
            "explainer": explainer,
        }
        for unit in table.to_pylist()
        if unit["explanation"] and (row := inputs.row(unit["unit_id"])) is not None
    ]
    put(folder, own, lambda known: pc.equal(known["source"], source))


def keep_those_of(folder: IndexFolder, dictionary: DictionaryAbout, known: About | None, n_units: int) -> None:
    """Remove the labels of units that an index about to be made in this folder lacks: all of another dictionary, and of one that is `known`
    those of rows from `n_units` on, such as neurons that are no longer asked for."""
    if folder.has(LABELS):
        least = 0 if known is not None and known.dictionary.key != dictionary.key else n_units
        put(folder, [], lambda labels: pc.greater_equal(labels["row"], least))


def put(folder: IndexFolder, rows: Sequence[Mapping[str, Any]], replaces: Callable[[pa.Table], Any]) -> None:
    """Add labels, and remove those that `replaces` marks in the table of all.

    Of a unit's labels those of runs come first and propagated ones last; of the others the newest is first. The file is written whole, by one
    writer at a time. Raises `AlreadyLocked` and `PlaceFailed`.
    """
    with writer_lock(folder):
        known = folder.table(LABELS)
        kept = known.filter(pc.invert(replaces(known))) if len(known) else known
        added = pa.Table.from_pylist([dict.fromkeys(schema.LABELS.names) | dict(row) for row in rows], schema.LABELS)
        joined = pa.concat_tables([added, kept.cast(schema.LABELS)])
        of_run, live = pc.starts_with(joined["source"], "run:"), pc.equal(joined["source"], schema.LIVE)
        ordered = joined.append_column("order", pc.if_else(of_run, 0, pc.if_else(live, 1, 2)))
        order = pc.sort_indices(ordered, [("row", "ascending"), ("order", "ascending")])
        folder.write_table(LABELS, joined.take(order))


@contextmanager
def writer_lock(folder: IndexFolder) -> Iterator[None]:
    """Hold `labels.parquet` while the block reads and replaces it. Raises `AlreadyLocked` if another process does so for long."""
    deadline = time.monotonic() + PATIENCE_S
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(locked(folder.path / LOCK, "the labels of this index"))
                break
            except AlreadyLocked:
                if time.monotonic() > deadline:
                    raise
            time.sleep(_LOOK_S)
        yield
