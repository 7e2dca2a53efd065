"""A run's files as plain Python values: the only input of every page."""

from __future__ import annotations

import json
import math
import tomllib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from autointerp.errors import UsageError
from autointerp.records import COMPARED

Row = dict[str, Any]

_UNIT_COLUMNS = [
    *("unit_id", "kind", "index", "explanation", "explanation_outcome", "max_activation", "density", "status"),
    *("n_scored", "n_unscored", "mean_score", "mean_score_frequency", "shuffled_mean", "base_rate_mean", "histogram"),
]
_EXEMPLAR_COLUMNS = ["exemplar_id", "activation_fraction", "bin", "mark", "tokens", "token_activations"]
_JUDGEMENT_COLUMNS = [
    *("exemplar_id", "unit_id", "arm", "bin", "judge", "repeat", "outcome", "score", "reason", "explanation_unit_id"),
]


@dataclass(frozen=True)
class Results:
    """The files of one results folder, missing values as None."""

    summary: dict[str, Any]
    units: list[Row]
    """Features and neurons."""
    known: list[Row]
    """Units that are controls: planted ones, and those of what was never trained."""
    exemplars: dict[str, Row]
    """By exemplar id; only those that were judged."""
    judgements: dict[str, list[Row]]
    """By unit id, in the file's order; `again` marks those of a second judge."""
    explanations: dict[str, dict[str, str]]
    """By unit id and aid, those that were made in another way."""
    spec: str
    n_judgements: int
    """Of features and neurons by the run's own judge, under explanations made in the run's own way."""
    confidence: float
    """Level of the intervals, as the spec says."""


def read(folder: Path) -> Results:
    """Read a results folder. Raises `UsageError` when a file is missing or unreadable."""
    summary = read_summary(folder)
    units: list[Row] = []
    known: list[Row] = []
    for unit in _rows(folder / "units.parquet", _UNIT_COLUMNS):
        (units if unit["kind"] in COMPARED else known).append(unit)
    judged = _rows(folder / "judgements.parquet", _JUDGEMENT_COLUMNS)
    wanted = {row["exemplar_id"] for row in judged}
    exemplars = {row["exemplar_id"]: row for row in _rows(folder / "exemplars.parquet", _EXEMPLAR_COLUMNS, wanted)}
    second = _second(summary)
    by_unit: dict[str, list[Row]] = defaultdict(list)
    for row in judged:
        by_unit[row["unit_id"]].append(row | {"again": second is not None and row["judge"] == second})
    rows = [row for unit in units for row in by_unit.get(unit["unit_id"], ())]
    n = sum(not row["again"] and row["arm"] != "variant" for row in rows)
    spec = _text(folder / "spec.toml")
    explanations = _explanations(folder / "explanations.parquet")
    return Results(summary, units, known, exemplars, dict(by_unit), explanations, spec, n, _confidence(spec))


def _second(summary: dict[str, Any]) -> str | None:
    """The second judge's name, where there is one that can be told from the first by it."""
    name = ((summary.get("evidence") or {}).get("second") or {}).get("judge")
    return name if name != summary["judge"] else None


def _explanations(path: Path) -> dict[str, dict[str, str]]:
    """Explanations made with another aid, by unit and aid; none where no aid was compared."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for row in _rows(path, ["unit_id", "aid", "explanation"]) if path.is_file() else []:
        if row["aid"] and row["explanation"]:
            found[row["unit_id"]][row["aid"]] = row["explanation"]
    return dict(found)


def read_summary(folder: Path) -> dict[str, Any]:
    """The folder's `summary.json`. Raises `UsageError`."""
    path = folder / "summary.json"
    try:
        summary = json.loads(_text(path))
    except ValueError as error:
        raise UsageError(f"{path} is not valid JSON ({error}): run the spec again to write it anew") from None
    if not isinstance(summary, dict) or summary.get("schema_version") != 1:
        version = summary.get("schema_version") if isinstance(summary, dict) else None
        raise UsageError(f"{path} has schema_version {version!r}, this version reads 1: run the spec again")
    return summary


def _rows(path: Path, columns: list[str], exemplar_ids: Iterable[str] | None = None) -> list[Row]:
    try:
        table = pq.read_table(path, columns=columns)
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist: name a folder in results/ that a run has finished") from None
    except (OSError, pa.ArrowInvalid) as error:
        raise UsageError(f"{path} cannot be read ({str(error).splitlines()[0]}): run the spec again") from None
    absent = [name for name in columns if name not in table.column_names]
    if absent:
        raise UsageError(f"{path} lacks the column {absent[0]}: run the spec again with this version")
    if exemplar_ids is not None:
        table = table.filter(
            pc.is_in(table["exemplar_id"], pa.array(sorted(exemplar_ids), table.schema.field("exemplar_id").type))
        )
    return [{key: _none_if_nan(value) for key, value in row.items()} for row in table.to_pylist()]


def _none_if_nan(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist: name a folder in results/ that a run has finished") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None


def _confidence(spec: str) -> float:
    try:
        return float(tomllib.loads(spec).get("report", {}).get("confidence", 0.95))
    except (tomllib.TOMLDecodeError, TypeError, ValueError):
        return 0.95
