"""Makes the windows of units' nearest neighbours in the whole dictionary or layer, from contexts that are read again."""

from __future__ import annotations

from functools import partial

import pandas as pd

from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.inputs import Inputs
from autointerp.harvest.neighbour_windows import names
from autointerp.harvest.plan import SharedPlan
from autointerp.progress import OnProgress
from sae.analysis.explainer_windows import WindowSettings
from sae.analysis.neighbour_windows import neighbour_windows
from sae.harvest.units import UnitKey

__all__ = ["make", "names"]


def make(inputs: Inputs, artifacts: Artifacts, plan: SharedPlan, on_progress: OnProgress) -> None:
    """Write the nearest units of every alive unit and the windows of these beside the harvest."""
    on_progress("reading neighbour windows", 0, 0)
    spec = inputs.spec
    units = pd.read_parquet(artifacts.read(plan.name("units.parquet")))
    alive = set(units.loc[units["status"] == "alive", "unit_id"])
    keys = [key for key in (UnitKey(*unit) for unit in plan.units) if key.unit_id in alive]
    found = neighbour_windows(
        inputs.subject,
        inputs.dictionary,
        inputs.corpus,
        inputs.token_texts,
        keys,
        pd.read_parquet(artifacts.read(plan.name("exemplars.parquet"))),
        spec.controls.neighbours,
        WindowSettings(
            spec.harvest.window_tokens,
            spec.harvest.bins,
            spec.harvest.skip_positions,
            plan.norm_limit,
            spec.units.seed,
        ),
    )
    rows = pd.DataFrame(
        {
            "unit_id": [key.unit_id for key in keys],
            "nearest": [[near.unit.unit_id for near in of_unit] for of_unit in found.nearest],
            "cosine": [[near.cosine for near in of_unit] for of_unit in found.nearest],
            "coactivation": [[near.coactivation for near in of_unit] for of_unit in found.nearest],
        }
    )
    for name, table in zip(names(spec), (rows, found.windows), strict=True):
        artifacts.write(plan.name(name), partial(table.to_parquet, index=False))
