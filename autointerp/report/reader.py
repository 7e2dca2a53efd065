"""Reads a results folder: the only input of every page."""

from __future__ import annotations

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
from autointerp.findings.summary import Summary, read_summary
from autointerp.json_values import none_if_nan
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

    summary: Summary
    units: list[Row]
    """Features and neurons."""
    known: list[Row]
    """Control units: planted ones, and those of random weights."""
    exemplars: dict[str, Row]
    """By exemplar id; only those that were judged."""
    judgements: dict[str, list[Row]]
    """By unit id, in the file's order; `again` marks those of a second judge."""
    explanations: dict[str, dict[str, str]]
    """By unit id and aid, the explanations made with another aid."""
    spec: str
    n_judgements: int
    """Judgements of features and neurons by the run's own judge, under the run's own explanations."""
    confidence: float
    """Level of the intervals, from the spec."""


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


def _second(summary: Summary) -> str | None:
    """The second judge's name, if it differs from the first one's."""
    second = summary.evidence.second if summary.evidence else None
    return second.judge if second and second.judge != summary.judge else None


def _explanations(path: Path) -> dict[str, dict[str, str]]:
    """Explanations made with another aid, by unit and aid; none where no aid was compared."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for row in _rows(path, ["unit_id", "aid", "explanation"]) if path.is_file() else []:
        if row["aid"] and row["explanation"]:
            found[row["unit_id"]][row["aid"]] = row["explanation"]
    return dict(found)


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
    return [{key: none_if_nan(value) for key, value in row.items()} for row in table.to_pylist()]


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
