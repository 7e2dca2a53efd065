"""SAEDashboard: a run's features as the `batch-0.json` that its runner writes for Neuronpedia.

Source: `NeuronpediaDashboardBatch` and `NeuronpediaConverter` of sae-dashboard 0.8.0. `SaeVisData.save_json`, its other file, stores token
ids, which a results folder does not have.
"""

from __future__ import annotations

import json

from autointerp.exports import dashboards
from autointerp.exports.request import Request, source_of
from autointerp.exports.run_tables import RunTables
from sae.files import write_text


def export(run: RunTables, request: Request) -> str:
    """Write `batch-0.json`. Returns its path. Raises `UsageError` for a name that is not MODEL/SOURCE."""
    source = source_of(run.summary, request.name)
    batch = {
        "model_id": source.model,
        "layer": source.layer,
        "sae_set": source.set,
        "sae_id_suffix": None,
        "features": list(dashboards.features(run)),
    }
    path = request.out / "batch-0.json"
    write_text(path, json.dumps(batch, ensure_ascii=False, allow_nan=False))
    return str(path)
