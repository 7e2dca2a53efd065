"""What trackers of experiments are given of a run: configuration, figures, curves, a table of units, drawings and the report."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from autointerp.exports.run_tables import RunTables
from autointerp.findings.summary import Summary
from autointerp.records import COMPARED
from autointerp.report import markdown, prose, reader
from autointerp.report.figures.bin_grades import bins_figure

UNIT_COLUMNS = (
    "unit_id",
    "kind",
    "index",
    "explanation",
    "mean_score",
    "shuffled_mean",
    "base_rate_mean",
    "density",
    "status",
)


def configuration(run: RunTables) -> dict[str, Any]:
    """The run's inputs: every key of its spec by its dotted name, and the identities of what was evaluated."""
    summary = run.summary
    identities = {
        "run_id": summary.run_id,
        "spec_hash": summary.spec_hash,
        "subject.fingerprint": summary.subject.fingerprint,
        "dictionary.fingerprint": summary.dictionary.fingerprint,
        "dictionary.architecture": summary.dictionary.architecture,
        "dictionary.d_sae": summary.dictionary.d_sae,
        "corpus.fingerprint": summary.corpus.fingerprint,
        "rubric.hash": summary.rubric.hash,
        "judge_is_llm": summary.judge_is_llm,
        "verdict_on_the_judge": summary.belief.verdict if summary.belief else None,
        "withheld": summary.headline.withheld,
    }
    return {key: value for key, value in {**dict(_flat(run.spec)), **identities}.items() if value is not None}


def measures(summary: Summary) -> dict[str, float]:
    """The run's figures by name; undefined and withheld ones are left out."""
    headline, fit = summary.headline, summary.check
    found: dict[str, float | None] = {
        name: getattr(summary, name) for name in ("unscored_share", "cost_usd", "wall_s", "calls")
    }
    if not headline.withheld:
        found |= {
            "difference": headline.difference,
            "difference/low": headline.ci_low,
            "difference/high": headline.ci_high,
            "features": headline.features_mean,
            "neurons": headline.neurons_mean,
            "p_superior": headline.p_superior,
        }
    if summary.distinction and not headline.withheld:
        found |= {f"distinction/{kind}": getattr(summary.distinction, kind).value for kind in COMPARED}
    if fit is not None:
        found |= {
            f"fit/{name}": getattr(fit, name)
            for name in ("l0", "variance_explained", "loss_recovered", "dead_fraction")
        }
    for scorer in summary.scorers:
        for figure in scorer.figures:
            found |= {f"{scorer.scorer}/{figure.figure}/{kind}": getattr(figure, kind).mean for kind in COMPARED}
    return {name: float(value) for name, value in found.items() if value is not None and math.isfinite(value)}


def curves(summary: Summary) -> dict[str, list[tuple[int, float]]]:
    """The mean grade in each activation bin, from the weakest, for each kind of unit."""
    return {
        f"grade_by_bin/{kind}": [
            (row.bin, row.mean) for row in summary.bins if row.kind == kind and row.mean is not None
        ]
        for kind in COMPARED
    }


def units(run: RunTables) -> tuple[tuple[str, ...], list[list[Any]]]:
    """Columns and rows of the table of features and neurons."""
    rows = [row for row in run.units if row["kind"] in COMPARED]
    return UNIT_COLUMNS, [[row.get(column) for column in UNIT_COLUMNS] for row in rows]


def drawings(summary: Summary) -> dict[str, str]:
    """Figures as SVG, by the name of a file."""
    return {"grades_by_bin.svg": bins_figure(summary)}


def verdict(summary: Summary) -> str:
    """The headline in one sentence, and how far the judge can be relied on."""
    return " ".join([prose.verdict(summary).sentence, summary.belief.sentence if summary.belief else ""]).strip()


def report(run: RunTables) -> str:
    """The report as Markdown. Raises `UsageError` if a file of the run cannot be read."""
    return markdown.render(reader.read(run.folder))


def files(run: RunTables) -> list[Path]:
    """The files of the results folder, without the folders that exports make in it."""
    return [path for path in sorted(run.folder.iterdir()) if path.is_file() and not path.name.startswith(".")]


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The keys of a spec by dotted name; lists are kept as lists of values."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
