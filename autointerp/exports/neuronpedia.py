"""Neuronpedia: a run's features, activations and explanations in the files that it imports, and as bodies of its upload.

The folder `MODEL/SOURCE` has the layout and the fields of `sae_dashboard/neuronpedia/neuronpedia_export.py` and of
`neuronpedia_utils/db_models` (hijohnnylin/neuronpedia): `release.jsonl`, `model.jsonl`, `sourceset.jsonl`, `source.jsonl`, and
`batch-N.jsonl.gz` in `features`, `activations` and `explanations`. `upload-N.json` is the body of one request to
`api/feature/upload-batch`, of at most 128 features, as `FeatureRequest.upload_batch` of neuronpedia 1.2.1 sends it.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from autointerp import formatting
from autointerp.exports import dashboards
from autointerp.exports.neuronpedia_rows import PER_BATCH, Origin, Rows, line
from autointerp.exports.request import Request, source_of
from autointerp.exports.run_tables import Row, RunTables
from autointerp.findings.summary import Summary
from sae.files import write_text, written_whole

PER_UPLOAD = 128
"""Most features of one upload."""


def export(run: RunTables, request: Request) -> str:
    """Write the files of one source. Returns its folder. Raises `UsageError` for a name that is not MODEL/SOURCE."""
    summary = run.summary
    source = source_of(summary, request.name)
    folder = request.out / source.model / source.name
    units = {int(unit["index"]): unit for unit in dashboards.active_features(run)}
    origin = Origin(
        id=summary.run_id, subject=summary.subject.name, dictionary=summary.dictionary.name,
        hook_point=summary.hook_point, corpus=", ".join(summary.corpus.sources), n_prompts=summary.corpus.n_contexts,
        context_tokens=run.spec.get("corpus", {}).get("context_tokens"), made_at=summary.finished_at,
    )  # fmt: skip
    made = Rows(origin, source)
    for name, row in made.of_source().items():
        write_text(folder / f"{name}.jsonl", line(row))
    pages = list(dashboards.features(run))
    for number, batch in enumerate(_parts(pages, PER_BATCH)):
        _write(folder / "features" / f"batch-{number}.jsonl.gz", map(made.feature, batch))
        _write(folder / "activations" / f"batch-{number}.jsonl.gz", made.activations(batch))
        explained = [units[page["feature_index"]] for page in batch if units[page["feature_index"]]["explanation"]]
        explanations = (
            made.explanation(unit["index"], unit["explanation"], _notes(summary, unit)) for unit in explained
        )
        _write(folder / "explanations" / f"batch-{number}.jsonl.gz", explanations)
    for number, batch in enumerate(_parts(pages, PER_UPLOAD)):
        body = {
            "modelId": source.model,
            "source": source.name,
            "features": [_upload(page, units[page["feature_index"]]) for page in batch],
        }
        write_text(folder / f"upload-{number}.json", json.dumps(body, ensure_ascii=False, allow_nan=False))
    return str(folder)


def _notes(summary: Summary, unit: Row) -> str:
    grade = unit["mean_score"]
    graded = (
        "not graded"
        if grade is None
        else f"{summary.rubric.name} {formatting.number(grade)} of {max(summary.rubric.grades)} by {summary.judge}"
    )
    return f"explained by {summary.explainer}; {graded}; autointerp run {summary.run_id}"


def _upload(page: Mapping[str, Any], unit: Row) -> Row:
    """A feature in the body of an upload."""
    given = [{"text": unit["explanation"], "methodName": None, "modelName": None}] if unit["explanation"] else []
    shown = [
        {
            "tokens": each["tokens"],
            "values": each["values"],
            "quantileMin": each["bin_min"],
            "quantileMax": each["bin_max"],
            # The package takes shares from 0 to 1 only; the strongest activations belong to no quantile.
            "quantileFraction": each["bin_contains"] if each["bin_contains"] >= 0 else None,
        }
        for each in page["activations"]
    ]
    index, density = page["feature_index"], page["frac_nonzero"]
    logits = {"topLogits": None, "bottomLogits": None}
    return {"index": index, "density": density, "activations": shown, "explanations": given} | logits


def _parts(rows: Sequence[Row], size: int) -> Iterable[Sequence[Row]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


def _write(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as compressed lines of JSON, the same bytes for the same rows."""
    text = "".join(map(line, rows))
    with written_whole(path) as partial:
        partial.write_bytes(gzip.compress(text.encode(), mtime=0))
