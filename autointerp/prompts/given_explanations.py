"""Reads explanations that were made elsewhere, from Neuronpedia's files or a table, for scoring without an explainer.

Neuronpedia's exports (`explanations/batch-0.jsonl.gz` under a model and source) have one JSON object a line, with `modelId`, `layer`,
`index` and `description`; its API answers with a feature that has a list `explanations` of the same objects. Written against
neuronpedia 1.2.1 (`neuronpedia.np_explanation.Explanation.from_np_db_json`) and `export-data.py` of the site's repository.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_args

from autointerp.errors import UsageError
from autointerp.prompts import batch_files
from autointerp.records import COMPARED, Kind

UNIT_COLUMNS = ("unit_id", "unit", "feature", "index")
TEXT_COLUMNS = ("explanation", "description", "label", "text")
"""Names of the two columns of a table, in the order in which they are looked for."""
_UNIT = re.compile(r"feature-\d+|neuron-\d+[+-]")
_CONTROL = re.compile("|".join(rf"{kind}-\d+.*" for kind in get_args(Kind) if kind not in COMPARED))
"""Ids of control units, whose explanations are known."""


class _Row(NamedTuple):
    unit: Any
    text: Any
    source: tuple[Any, Any]
    """Neuronpedia's model and layer; None in tables."""
    where: str
    """The file and line, for messages."""


def explanations_from(path: Path) -> dict[str, str]:
    """Explanations by unit id, such as `feature-641`, from a file or from the folder of a Neuronpedia export.

    A table (`.csv`, `.tsv`) has a column of units (`unit_id`, `unit`, `feature` or `index`: a unit's id, or the index of a feature)
    and one of texts (`explanation`, `description`, `label` or `text`). `.json`, `.jsonl` and `.jsonl.gz` files are Neuronpedia's. Rows
    without a text and rows of control units are left out, and the first of several explanations of a unit counts. Raises `UsageError`.
    """
    found: dict[str, str] = {}
    source: tuple[Any, Any] | None = None
    for row in (row for file in batch_files.batches(path, "explanations", _FORMS) for row in _rows(file)):
        text = " ".join(str(row.text or "").split())
        if not text or _CONTROL.fullmatch(str(row.unit)):
            continue
        if source is not None and row.source != source:
            raise UsageError(
                f"{row.where} is of {_source(row.source)} and earlier ones of {_source(source)}: give one source"
            )
        source = row.source
        found.setdefault(_unit_id(row), text)
    if not found:
        raise UsageError(f"{path} has no explanations: give {_FORMS}")
    return found


def _rows(path: Path) -> Iterator[_Row]:
    if batch_files.ending(path) in ("csv", "tsv"):
        yield from _table_rows(batch_files.text_of(path), path)
    elif batch_files.ending(path) in ("json", "jsonl"):
        for value, where in batch_files.values(path):
            yield from _objects(value, where)
    else:
        raise UsageError(f"{path} is not a file of explanations: give {_FORMS}")


def _table_rows(text: str, path: Path) -> Iterator[_Row]:
    header = text.split("\n", 1)[0]
    table = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count), strict=True)
    try:
        names = {name.strip().lower(): name for name in table.fieldnames or () if name}
        unit = next((names[name] for name in UNIT_COLUMNS if name in names), None)
        said = next((names[name] for name in TEXT_COLUMNS if name in names), None)
        if unit is None or said is None:
            missing, choices = ("unit", UNIT_COLUMNS) if unit is None else ("explanation", TEXT_COLUMNS)
            raise UsageError(f"{path} has no column for the {missing}: name it one of {', '.join(choices)}")
        for row in table:
            yield _Row(row[unit], row[said], (None, None), f"{path}, line {table.line_num},")
    except csv.Error as error:
        raise UsageError(f"{path}, line {table.line_num}: {error}: write it as CSV") from None


def _objects(value: Any, where: str) -> Iterator[_Row]:
    """The explanations in a value: a list of them, a feature with a list `explanations`, or one."""
    if isinstance(value, list):
        for each in value:
            yield from _objects(each, where)
    elif isinstance(value, Mapping) and isinstance(value.get("explanations"), list):
        inherited: dict[str, Any] = {key: value[key] for key in ("modelId", "layer", "index") if key in value}
        for each in value["explanations"]:
            yield from _objects({**inherited, **each} if isinstance(each, Mapping) else each, where)
    elif isinstance(value, Mapping) and "index" in value and "description" in value:
        layer = value.get("layer", value.get("source"))
        yield _Row(value["index"], value["description"], (value.get("modelId"), layer), where)
    else:
        raise UsageError(f"{where} has no `index` and `description`: give explanations in Neuronpedia's form")


def _unit_id(row: _Row) -> str:
    """The id of a row's unit: as it stands, or of a feature by its index."""
    name = str(row.unit).strip()
    if isinstance(row.unit, bool) or not (name.isdecimal() or _UNIT.fullmatch(name)):
        raise UsageError(f"{row.where} names the unit {name!r}: write feature-641, 641 or neuron-17+")
    return f"feature-{int(name)}" if name.isdecimal() else name


def _source(source: tuple[Any, Any]) -> str:
    return "/".join(str(part) for part in source)


_FORMS = "a CSV file with the columns unit_id and explanation, or Neuronpedia's JSON"
