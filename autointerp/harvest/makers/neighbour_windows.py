"""Makes the windows of units' nearest neighbours from windows that the harvest keeps."""

from __future__ import annotations

from functools import partial

import pandas as pd

from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.inputs import Inputs
from autointerp.harvest.neighbour_windows import names
from autointerp.harvest.plan import SharedPlan
from autointerp.progress import OnProgress
from sae.analysis.directions import nearest_within
from sae.analysis.explainer_windows import WindowSettings
from sae.analysis.neighbour_windows import NEAREST, neighbour_windows
from sae.harvest.harvest import UnitReader
from sae.harvest.units import UnitKey

__all__ = ["make", "names"]


def make(inputs: Inputs, artifacts: Artifacts, plan: SharedPlan, on_progress: OnProgress) -> None:
    """Write the nearest units of every alive unit and the windows of these beside the harvest."""
    on_progress("reading windows of neighbouring units", 0, 0)
    spec = inputs.spec
    units = pd.read_parquet(artifacts.read(plan.name("units.parquet")))
    alive = set(units.loc[units["status"] == "alive", "unit_id"])
    keys = [key for key in (UnitKey(*unit) for unit in plan.units) if key.unit_id in alive]
    number = {key: i for i, key in enumerate(keys)}
    by_direction = nearest_within(inputs.subject, inputs.dictionary, keys, min(4 * NEAREST, max(len(keys) - 1, 1)))
    found = neighbour_windows(
        UnitReader(inputs.subject, inputs.dictionary, keys),
        inputs.corpus,
        pd.read_parquet(artifacts.read(plan.name("exemplars.parquet"))),
        [[number[key] for key in near] for near in by_direction],
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
            "nearest": [[keys[other].unit_id for other in near] for near in found.nearest],
        }
    )
    for name, table in zip(names(spec), (rows, found.windows), strict=True):
        artifacts.write(plan.name(name), partial(table.to_parquet, index=False))
