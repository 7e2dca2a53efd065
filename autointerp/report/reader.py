"""Reads a results folder, the only input of a report."""

from __future__ import annotations

import tomllib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from autointerp.errors import UsageError
from autointerp.findings.summary import Summary, read_summary
from autointerp.json_values import none_if_nan
from autointerp.records import COMPARED, PLANTED
from autointerp.report import comparison_links, study_links
from autointerp.report.comparison_links import ComparisonLink
from autointerp.report.contexts import Row, choose, shown_per_unit, strongest_per_unit
from autointerp.report.study_links import StudyLink

_UNIT_COLUMNS = [
    *("unit_id", "kind", "index", "explanation", "explanation_outcome", "max_activation", "density", "status"),
    *("n_scored", "n_unscored", "mean_score", "mean_score_frequency", "shuffled_mean", "base_rate_mean", "histogram"),
]
_REASON_COLUMNS = [
    f"{name}_why" for name in ("explanation", "mean_score", "mean_score_frequency", "shuffled_mean", "base_rate_mean")
]
_SIDE_COLUMNS = [
    *("side", "raised", "output_rise", "output_random_rise", "output_precision", "decoder_precision"),
]
"""Columns of units whose sides were measured."""
_TOKEN_COLUMNS = ["promoted", "suppressed"]
"""Columns of units whose effects on the logits were read off."""
_EXEMPLAR_COLUMNS = ["exemplar_id", "role", "activation_fraction", "bin", "mark", "tokens", "token_activations"]
_ACTIVE_ROLES = ["score", "top", "explain_top", "explain_spread"]
"""Roles of exemplars whose unit is active at the mark."""
_JUDGEMENT_COLUMNS = [
    *("exemplar_id", "unit_id", "arm", "bin", "judge", "repeat", "outcome", "score", "reason", "explanation_unit_id"),
]


@dataclass(frozen=True)
class Results:
    """The contents of one results folder. Missing values are None."""

    summary: Summary
    units: list[Row]
    """Features and neurons."""
    known: list[Row]
    """Control units: planted units and units of random weights."""
    exemplars: dict[str, Row]
    """The exemplars of `strongest` and `chosen` by their id."""
    strongest: dict[str, list[str]]
    """By unit id, the ids of its strongest exemplars, judged or not, the strongest first; planted units have none."""
    chosen: dict[str, list[str]]
    """By unit id, the ids of other judged exemplars that the page shows: see `contexts.choose`."""
    judgements: dict[str, list[Row]]
    """By unit id, in the file's order. `again` is True for those of a second judge."""
    explanations: dict[str, dict[str, str]]
    """Explanations made with an aid, by unit id and aid."""
    spec: str
    """Text of `spec.toml`."""
    n_judgements: int
    """Number of judgements of features and neurons by the run's own judge under the run's own explanations."""
    confidence: float
    """Confidence level of the intervals, from the spec."""
    files: list[str]
    """Names of the files in the folder beside `report.html`, which is written last."""
    comparisons: tuple[ComparisonLink, ...] = ()
    """The comparisons beside the folder that the run is part of."""
    studies: tuple[StudyLink, ...] = ()
    """The studies made of the run, such as steering."""


def read(folder: Path) -> Results:
    """Read a results folder. Raises `UsageError` if a file is missing or unreadable."""
    summary = read_summary(folder)
    units: list[Row] = []
    known: list[Row] = []
    for unit in _rows(
        folder / "units.parquet", _UNIT_COLUMNS, optional=[*_REASON_COLUMNS, *_SIDE_COLUMNS, *_TOKEN_COLUMNS]
    ):
        (units if unit["kind"] in COMPARED else known).append(unit)
    judged = _rows(folder / "judgements.parquet", _JUDGEMENT_COLUMNS)
    second = _second(summary)
    by_unit: dict[str, list[Row]] = defaultdict(list)
    for row in judged:
        by_unit[row["unit_id"]].append(row | {"again": second is not None and row["judge"] == second})
    strongest = _strongest(folder / "exemplars.parquet", [*units, *known], strongest_per_unit(len(units)))
    limit = shown_per_unit(len(units))
    chosen = {unit_id: choose(rows, limit, strongest.get(unit_id, ())) for unit_id, rows in by_unit.items()}
    exemplar_ids = {name for ids in (*strongest.values(), *chosen.values()) for name in ids}
    rows = _rows(folder / "exemplars.parquet", _EXEMPLAR_COLUMNS, exemplar_ids, optional=["turn"])
    exemplars = {row["exemplar_id"]: row for row in rows}
    rows = [row for unit in units for row in by_unit.get(unit["unit_id"], ())]
    n = sum(not row["again"] and row["arm"] != "variant" for row in rows)
    spec = _text(folder / "spec.toml")
    explanations = _explanations(folder / "explanations.parquet")
    links = tuple(comparison_links.of_run(folder))
    return Results(
        summary,
        units,
        known,
        exemplars,
        strongest,
        chosen,
        dict(by_unit),
        explanations,
        spec,
        n,
        _confidence(spec),
        _files(folder),
        links,
        tuple(study_links.of_run(folder)),
    )


def _files(folder: Path) -> list[str]:
    names = {path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")}
    return sorted((names | {"report.md"}) - {"report.html"})


def _strongest(path: Path, units: list[Row], n: int) -> dict[str, list[str]]:
    """By unit, the ids of its `n` exemplars of the largest activation; none of planted units, whose texts are made."""
    wanted = {unit["unit_id"] for unit in units if unit["kind"] != PLANTED}
    rows = _rows(path, ["exemplar_id", "unit_id", "role", "activation_fraction"])
    rows = [row for row in rows if row["role"] in _ACTIVE_ROLES and row["unit_id"] in wanted]
    rows.sort(key=lambda row: (-(row["activation_fraction"] or 0.0), row["exemplar_id"]))
    strongest: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if len(strongest[row["unit_id"]]) < n:
            strongest[row["unit_id"]].append(row["exemplar_id"])
    return dict(strongest)


def _second(summary: Summary) -> str | None:
    """The second judge's name, if it differs from the first judge's."""
    second = summary.evidence.second if summary.evidence else None
    return second.judge if second and second.judge != summary.judge else None


def _explanations(path: Path) -> dict[str, dict[str, str]]:
    """Explanations made with an aid, by unit and aid. Early versions wrote no such file."""
    by_unit: dict[str, dict[str, str]] = defaultdict(dict)
    for row in _rows(path, ["unit_id", "aid", "explanation"]) if path.is_file() else []:
        if row["aid"] and row["explanation"]:
            by_unit[row["unit_id"]][row["aid"]] = row["explanation"]
    return dict(by_unit)


def _rows(
    path: Path, columns: list[str], exemplar_ids: Iterable[str] | None = None, optional: Sequence[str] = ()
) -> list[Row]:
    """The rows of a Parquet file, optionally only those of some exemplars. The columns `optional` are read where they exist. Raises
    `UsageError`."""
    try:
        present = [name for name in optional if name in pq.read_schema(path).names] if optional else []
        table = pq.read_table(path, columns=[*columns, *present])
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist: name a folder in results/ that a run has finished") from None
    except (OSError, pa.ArrowInvalid) as error:
        raise UsageError(f"{path} cannot be read ({str(error).splitlines()[0]}): run the spec again") from None
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise UsageError(f"{path} lacks the column {missing[0]}: run the spec again with this version")
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
