"""Labels of an index: the explanations and grades of a finished run."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from autointerp.explorer.index import schema
from autointerp.explorer.index.folder import LABELS, IndexFolder
from autointerp.explorer.index.inputs import IndexInputs
from autointerp.spec.spec import load

_COLUMNS = ("unit_id", "explanation", "mean_score", "distinction")


def write(folder: IndexFolder, inputs: IndexInputs) -> None:
    """Write the labels that the index's run gives in place of those that it gave before; those of other sources are kept."""
    if inputs.run is None:
        return
    source, judge = f"run:{inputs.run.name}", load(inputs.run / "spec.toml").judge.model
    known = pq.read_schema(inputs.run / "units.parquet").names
    table = pq.read_table(inputs.run / "units.parquet", columns=[name for name in _COLUMNS if name in known])
    own = [
        {
            "row": row,
            "explanation": unit["explanation"],
            "source": source,
            "judge": judge,
            "grade": unit["mean_score"],
            "distinction": unit.get("distinction"),
            "probability": None,
        }
        for unit in table.to_pylist()
        if unit["explanation"] and (row := inputs.row(unit["unit_id"])) is not None
    ]
    kept = [label for label in folder.table(LABELS).to_pylist() if label["source"] != source]
    rows = sorted([*own, *kept], key=lambda label: label["row"])
    folder.write_table(LABELS, pa.Table.from_pylist(rows, schema=schema.LABELS))
