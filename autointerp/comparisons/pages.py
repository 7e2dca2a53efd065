"""The files of a comparison: a page, Markdown, JSON, and the units by how they changed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from autointerp.comparisons import changed_units, grid, prose, tables
from autointerp.comparisons.comparison import Comparison, Pair
from autointerp.hashing import content_hash
from autointerp.json_values import plain
from autointerp.places import writing
from autointerp.report import page
from autointerp.report.escape import markdown as escaped
from autointerp.report.figures import bin_grades
from sae.files import write_text, written_whole

SCHEMA_VERSION = 1


def folder_of(ids: Sequence[Sequence[str]], results: Path) -> Path:
    """The folder of a comparison of sides with these runs, in this order."""
    return results / "comparisons" / content_hash(ids)[:8]


def write(comparison: Comparison, folder: Path) -> None:
    """Write `comparison.html`, `comparison.md`, `comparison.json` and `units.parquet`. Raises `PlaceFailed`."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "comparison.html", html(comparison, folder))
        write_text(folder / "comparison.md", markdown(comparison, folder))
        text = json.dumps(as_json(comparison, folder), indent=1, ensure_ascii=False, allow_nan=False)
        write_text(folder / "comparison.json", text)
        with written_whole(folder / "units.parquet") as partial:
            units_of(comparison).to_parquet(partial, index=False)


def html(comparison: Comparison, folder: Path) -> str:
    """The comparison as one page that opens from its folder, without a script."""
    edges = [e for pair in comparison.pairs for e in _interval(pair) if e is not None]
    reach = 1.05 * max((abs(edge) for edge in edges), default=1.0) or 1.0
    return page.environment().get_template("comparison.html.j2").render(
        **page.assets("comparison.css"),
        names=" and ".join(side.name for side in comparison.sides),
        titles=prose.titles(comparison),
        most_titles=prose.MOST_TITLES,
        reports=[(run.run_id, grid.report_of(run, folder)) for side in comparison.sides for run in side.runs],
        runs=tables.runs(comparison),
        grid=grid.grid(comparison.entries, folder),
        grid_caption=grid.CAPTION,
        summary=tables.pairs(comparison),
        cautions=prose.cautions(comparison),
        pairs=[
            {
                "verdict": prose.verdict(pair),
                                "notes": prose.notes(pair),
                "chart": Markup(bin_grades.difference_figure(_interval(pair), reach)),
                "tables": [table for table in (tables.measures(pair), tables.changes(pair), tables.units(pair)) if table],
            }
            for pair in comparison.pairs
        ],
    )  # fmt: skip


def markdown(comparison: Comparison, folder: Path) -> str:
    """The comparison as Markdown, with links from its folder."""
    parts = ["# Comparison", *(f"**{escaped(title)}**" for title, _ in prose.titles(comparison))]
    parts += [escaped(sentence) for sentence in prose.cautions(comparison)]
    if shown := grid.grid(comparison.entries, folder):
        parts.append(shown.markdown())
    parts += [table.markdown() for table in tables.pairs(comparison)]
    parts.append(tables.runs(comparison).markdown())
    for pair in comparison.pairs:
        parts += [f"## {escaped(pair.b)} against {escaped(pair.a)}"]
        parts += ["\n".join(f"- {escaped(note)}" for note in prose.notes(pair))]
        parts += [
            table.markdown() for table in (tables.measures(pair), tables.changes(pair), tables.units(pair)) if table
        ]
    return "\n\n".join(parts) + "\n"


def units_of(comparison: Comparison) -> pd.DataFrame:
    """The units of all pairs by how they changed."""
    columns = [*changed_units.COLUMNS, "explanation_a", "explanation_b"]
    known = [pair.units for pair in comparison.pairs if len(pair.units)]
    return pd.concat(known, ignore_index=True) if known else pd.DataFrame(columns=columns)


def as_json(comparison: Comparison, folder: Path) -> dict[str, Any]:
    """The contents of `comparison.json`."""
    return {
        "schema_version": SCHEMA_VERSION,
        "confidence": comparison.confidence,
        "sides": [[run.run_id for run in side.runs] for side in comparison.sides],
        "titles": [title for title, _ in prose.titles(comparison)],
        "grid": grid.as_json(comparison.entries, folder),
        "not_compared": comparison.not_compared,
        "pairs": [_pair(pair) for pair in comparison.pairs],
    }


def _pair(pair: Pair) -> dict[str, Any]:
    values = {f.name: getattr(pair, f.name) for f in dataclasses.fields(pair) if f.name != "units"}
    values["results"] = [dataclasses.asdict(result) for result in pair.results]
    if pair.retraining:
        values["retraining"] = dataclasses.asdict(pair.retraining) | {"verdict": pair.retraining.verdict}
    changes = (pair.units["kind"] + " " + pair.units["change"]).value_counts(sort=False)
    values["units"] = {str(name): int(n) for name, n in sorted(changes.items(), key=str)}
    values |= {"verdict": pair.result.verdict, "sentence": prose.verdict(pair), "notes": prose.notes(pair)}
    result: dict[str, Any] = plain(values)
    return result


def _interval(pair: Pair) -> tuple[float | None, float | None, float | None]:
    return pair.result.difference, pair.result.ci_low, pair.result.ci_high
