"""Neuronpedia: a run's features, activations and explanations in the files that it imports, and as bodies of its upload.

The folder `MODEL/SOURCE` has the layout and the fields of `sae_dashboard/neuronpedia/neuronpedia_export.py` and of
`neuronpedia_utils/db_models` (hijohnnylin/neuronpedia): `release.jsonl`, `model.jsonl`, `sourceset.jsonl`, `source.jsonl`, and
`batch-N.jsonl.gz` in `features`, `activations` and `explanations`. `upload-N.json` is the body of one request to
`api/feature/upload-batch`, of at most 128 features, as `FeatureRequest.upload_batch` of neuronpedia 1.2.1 sends it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from autointerp import formatting
from autointerp.exports import dashboards
from autointerp.exports.request import Request, Source, source_of
from autointerp.exports.run_tables import Row, RunTables
from autointerp.findings.summary import Summary
from sae.files import write_text, written_whole

CREATOR_VARIABLE = "DEFAULT_CREATOR_ID"
ANYONE = "clkht01d40000jv08hvalcvly"
"""Neuronpedia's id for the creator of imported data, unless the variable names another."""
PER_BATCH, PER_UPLOAD = 1024, 128
"""Number of features in a batch of an export, and at most in one upload."""
_COPIED = (
    *("neuron_alignment_indices", "neuron_alignment_values", "neuron_alignment_l1"),
    *("correlated_neurons_indices", "correlated_neurons_pearson", "correlated_neurons_l1"),
    *("correlated_features_indices", "correlated_features_pearson", "correlated_features_l1"),
    *("neg_str", "neg_values", "pos_str", "pos_values", "frac_nonzero"),
    *("freq_hist_data_bar_heights", "freq_hist_data_bar_values"),
    *("logits_hist_data_bar_heights", "logits_hist_data_bar_values", "decoder_weights_dist"),
)
"""Fields of a dashboard that a row of `features` has under the same name."""


def export(run: RunTables, request: Request) -> str:
    """Write the files of one source. Returns its folder. Raises `UsageError` for a name that is not MODEL/SOURCE."""
    source = source_of(run.summary, request.name)
    folder = request.out / source.model / source.name
    units = {int(unit["index"]): unit for unit in dashboards.active_features(run)}
    made = _Rows(run.summary, source, os.environ.get(CREATOR_VARIABLE) or ANYONE)
    for name, row in made.of_source(run.spec.get("corpus", {}).get("context_tokens")).items():
        write_text(folder / f"{name}.jsonl", _line(row))
    pages = list(dashboards.features(run))
    for number, batch in enumerate(_parts(pages, PER_BATCH)):
        _write(folder / "features" / f"batch-{number}.jsonl.gz", map(made.feature, batch))
        _write(folder / "activations" / f"batch-{number}.jsonl.gz", made.activations(batch))
        explanations = (made.explanation(units[page["feature_index"]]) for page in batch)
        _write(folder / "explanations" / f"batch-{number}.jsonl.gz", (row for row in explanations if row))
    for number, batch in enumerate(_parts(pages, PER_UPLOAD)):
        body = {
            "modelId": source.model,
            "source": source.name,
            "features": [_upload(page, units[page["feature_index"]]) for page in batch],
        }
        write_text(folder / f"upload-{number}.json", json.dumps(body, ensure_ascii=False, allow_nan=False))
    return str(folder)


class _Rows:
    """The rows of one source's files."""

    def __init__(self, summary: Summary, source: Source, creator: str) -> None:
        self._summary, self._source, self._creator = summary, source, creator
        self._made = {"creatorId": creator, "createdAt": summary.finished_at}

    def of_source(self, context_tokens: int | None) -> dict[str, Row]:
        """The rows that describe the release, the model, the set of sources and the source."""
        summary, source = self._summary, self._source
        about = f"{summary.dictionary.name} at {summary.hook_point} of {summary.subject.name}, evaluated by autointerp"
        shown = {"creatorName": "autointerp", "visibility": "PRIVATE"}
        return {
            "release": self._made | shown | {"name": source.set, "description": about, "descriptionShort": about, "urls": []},
            "model": self._made | {
                "id": source.model, "displayName": source.model, "displayNameShort": source.model, "owner": "",
                "instruct": source.model.endswith("-it") or "instruct" in source.model, "updatedAt": summary.finished_at,
                "visibility": "PRIVATE", "layers": 0, "neuronsPerLayer": 0, "inferenceEnabled": False,
            },
            "sourceset": self._made | shown | {
                "modelId": source.model, "name": source.set, "description": about, "releaseName": source.set, "type": "",
                "hasDashboards": True, "urls": [],
            },
            "source": self._made | {
                "modelId": source.model, "id": source.name, "setName": source.set, "visibility": "PRIVATE", "hasDashboards": True,
                "inferenceEnabled": False, "dataset": ", ".join(summary.corpus.sources), "num_prompts": summary.corpus.n_contexts,
                "num_tokens_in_prompt": context_tokens, "notes": f"autointerp run {summary.run_id}",
            },
        }  # fmt: skip

    def feature(self, page: Mapping[str, Any]) -> Row:
        """A row of `features`."""
        largest = max((max(a["values"]) for a in page["activations"]), default=0.0)
        has_no_vector = {"hasVector": False, "vector": [], "vectorLabel": None, "hookName": None}
        related = {"topkCosSimIndices": [], "topkCosSimValues": [], "sourceSetName": self._source.set}
        copied = {name: page[name] for name in _COPIED}
        return self._of(page["feature_index"]) | {"maxActApprox": largest} | has_no_vector | related | copied

    def activations(self, pages: Sequence[Mapping[str, Any]]) -> Iterable[Row]:
        """The rows of `activations`."""
        for page in pages:
            for place, given in enumerate(page["activations"]):
                values = given["values"]
                yield self._of(page["feature_index"]) | {
                    "id": self._id("activation", page["feature_index"], place),
                    "tokens": given["tokens"], "values": values, "maxValue": max(values), "minValue": min(values),
                    "maxValueTokenIndex": values.index(max(values)), "qualifyingTokenIndex": given["qualifying_token_index"],
                    "binMin": given["bin_min"], "binMax": given["bin_max"], "binContains": given["bin_contains"],
                    "dfaValues": [], "dfaTargetIndex": None, "dfaMaxValue": None, "lossValues": [], "logitContributions": None,
                    "dataIndex": None, "dataSource": None,
                }  # fmt: skip

    def explanation(self, unit: Row) -> Row | None:
        """A row of `explanations`; None for a feature without one.

        `typeName` and `explanationModelName` refer to rows of Neuronpedia's database, which knows neither this program nor every
        model, so `notes` say who explained and how the explanation is graded.
        """
        if not unit["explanation"]:
            return None
        row = self._of(unit["index"]) | {"id": self._id("explanation", unit["index"], 0), "authorId": self._creator}
        del row["creatorId"]
        named = {"description": unit["explanation"], "typeName": None, "explanationModelName": None, "embedding": None}
        return row | named | {"notes": self._notes(unit)}

    def _notes(self, unit: Row) -> str:
        summary, grade = self._summary, unit["mean_score"]
        graded = (
            "not graded"
            if grade is None
            else f"{summary.rubric.name} {formatting.number(grade)} of {max(summary.rubric.grades)} by {summary.judge}"
        )
        return f"explained by {summary.explainer}; {graded}; autointerp run {summary.run_id}"

    def _of(self, index: int) -> Row:
        return {"modelId": self._source.model, "layer": self._source.name, "index": str(index), **self._made}

    def _id(self, kind: str, index: int, place: int) -> str:
        """An id in the form of Neuronpedia's, the same in every export of a run."""
        named = f"{self._summary.run_id} {self._source.name} {kind} {index} {place}"
        return "c" + hashlib.sha256(named.encode()).hexdigest()[:24]


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


def _line(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"


def _write(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as compressed lines of JSON, the same bytes for the same rows."""
    text = "".join(map(_line, rows))
    with written_whole(path) as partial:
        partial.write_bytes(gzip.compress(text.encode(), mtime=0))
