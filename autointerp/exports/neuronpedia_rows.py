"""The rows that Neuronpedia imports, with the fields of `neuronpedia_utils/db_models` (hijohnnylin/neuronpedia)."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from autointerp.exports.request import Source
from autointerp.exports.run_tables import Row

CREATOR_VARIABLE = "DEFAULT_CREATOR_ID"
ANYONE = "clkht01d40000jv08hvalcvly"
"""Neuronpedia's id for the creator of imported data, unless the variable names another."""
PER_BATCH = 1024
"""Number of features in a batch."""
COPIED = (
    *("neuron_alignment_indices", "neuron_alignment_values", "neuron_alignment_l1"),
    *("correlated_neurons_indices", "correlated_neurons_pearson", "correlated_neurons_l1"),
    *("correlated_features_indices", "correlated_features_pearson", "correlated_features_l1"),
    *("neg_str", "neg_values", "pos_str", "pos_values", "frac_nonzero"),
    *("freq_hist_data_bar_heights", "freq_hist_data_bar_values"),
    *("logits_hist_data_bar_heights", "logits_hist_data_bar_values", "decoder_weights_dist"),
)
"""Fields of a dashboard that a row of `features` has under the same name."""

NEAREST = ("topkCosSimIndices", "topkCosSimValues")
"""Features with the nearest directions, in the same source."""


@dataclass(frozen=True)
class Origin:
    """What the rows are of."""

    id: str
    """Id of the run, or the name of the index."""
    subject: str
    dictionary: str
    hook_point: str
    corpus: str
    n_prompts: int
    context_tokens: int | None
    made_at: str
    """The time that every row has."""


class Rows:
    """The rows of one source's files."""

    def __init__(self, origin: Origin, source: Source) -> None:
        self._origin, self._source = origin, source
        self._creator = os.environ.get(CREATOR_VARIABLE) or ANYONE
        self._made = {"creatorId": self._creator, "createdAt": origin.made_at}

    def of_source(self) -> dict[str, Row]:
        """The rows that describe the release, the model, the set of sources and the source."""
        origin, source = self._origin, self._source
        about = f"{origin.dictionary} at {origin.hook_point} of {origin.subject}, evaluated by autointerp"
        shown = {"creatorName": "autointerp", "visibility": "PRIVATE"}
        return {
            "release": self._made | shown | {"name": source.set, "description": about, "descriptionShort": about, "urls": []},
            "model": self._made | {
                "id": source.model, "displayName": source.model, "displayNameShort": source.model, "owner": "",
                "instruct": source.model.endswith("-it") or "instruct" in source.model, "updatedAt": origin.made_at,
                "visibility": "PRIVATE", "layers": 0, "neuronsPerLayer": 0, "inferenceEnabled": False,
            },
            "sourceset": self._made | shown | {
                "modelId": source.model, "name": source.set, "description": about, "releaseName": source.set, "type": "",
                "hasDashboards": True, "urls": [],
            },
            "source": self._made | {
                "modelId": source.model, "id": source.name, "setName": source.set, "visibility": "PRIVATE", "hasDashboards": True,
                "inferenceEnabled": False, "dataset": origin.corpus, "num_prompts": origin.n_prompts,
                "num_tokens_in_prompt": origin.context_tokens, "notes": f"autointerp run {origin.id}",
            },
        }  # fmt: skip

    def feature(self, page: Mapping[str, Any]) -> Row:
        """A row of `features`. `topkCosSimIndices` and their values are copied from a page that has them."""
        largest = max((max(a["values"]) for a in page["activations"]), default=0.0)
        has_no_vector = {"hasVector": False, "vector": [], "vectorLabel": None, "hookName": None}
        related = {name: page.get(name, []) for name in NEAREST} | {"sourceSetName": self._source.set}
        copied = {name: page[name] for name in COPIED}
        return self._of(page["feature_index"]) | {"maxActApprox": largest} | has_no_vector | related | copied

    def activations(self, pages: Iterable[Mapping[str, Any]]) -> Iterable[Row]:
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

    def explanation(self, index: int, text: str, notes: str, place: int = 0) -> Row:
        """A row of `explanations`: the one in a place among those of a feature.

        `typeName` and `explanationModelName` refer to rows of Neuronpedia's database, which knows neither this program nor every
        model, so `notes` say who explained and how the explanation is graded.
        """
        row = self._of(index) | {"id": self._id("explanation", index, place), "authorId": self._creator}
        del row["creatorId"]
        named = {"description": text, "typeName": None, "explanationModelName": None, "embedding": None}
        return row | named | {"notes": notes}

    def _of(self, index: int) -> Row:
        return {"modelId": self._source.model, "layer": self._source.name, "index": str(index), **self._made}

    def _id(self, kind: str, index: int, place: int) -> str:
        """An id in the form of Neuronpedia's, the same in every export of a run."""
        named = f"{self._origin.id} {self._source.name} {kind} {index} {place}"
        return "c" + hashlib.sha256(named.encode()).hexdigest()[:24]


def line(row: Row) -> str:
    """A row as a line of JSON."""
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"
