"""Makes the windows of units' nearest neighbours in the whole dictionary or layer, from contexts that are read again.

The places among which windows are chosen are kept beside the sketch, for harvests with other exemplars of the same units.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pandas as pd

from autointerp.harvest import kept_sketches
from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.control_units import NEIGHBOURS_VERSION
from autointerp.harvest.control_units import neighbour_names as names
from autointerp.harvest.inputs import Inputs
from autointerp.harvest.plan import SharedPlan
from autointerp.hashing import content_hash
from autointerp.progress import OnProgress
from sae.analysis import neighbour_places
from sae.analysis.explainer_windows import WindowSettings
from sae.analysis.neighbour_places import NeighbourPlaces
from sae.analysis.neighbour_windows import neighbour_windows
from sae.harvest.units import UnitKey

__all__ = ["make", "names"]


def make(inputs: Inputs, artifacts: Artifacts, plan: SharedPlan, on_progress: OnProgress) -> None:
    """Write the nearest units of every alive unit and the windows of these beside the harvest."""
    spec, harvest = inputs.spec, inputs.spec.harvest
    units = pd.read_parquet(artifacts.read(plan.name("units.parquet")))
    alive = set(units.loc[units["status"] == "alive", "unit_id"])
    keys = [key for key in (UnitKey(*unit) for unit in plan.units) if key.unit_id in alive]
    settings = WindowSettings(
        harvest.window_tokens, harvest.bins, harvest.skip_positions, plan.norm_limit, spec.units.seed
    )
    found = neighbour_windows(
        _places(inputs, artifacts, keys, settings, on_progress),
        inputs.corpus,
        inputs.token_texts,
        keys,
        pd.read_parquet(artifacts.read(plan.name("exemplars.parquet"))),
        spec.controls.neighbours,
        settings,
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


def _places(
    inputs: Inputs, artifacts: Artifacts, units: Sequence[UnitKey], settings: WindowSettings, on_progress: OnProgress
) -> NeighbourPlaces:
    """The kept places of the units' neighbours, which are read first if there are none."""
    decided_by = [NEIGHBOURS_VERSION, settings.norm_limit, *(unit.unit_id for unit in units)]
    kept = f"{kept_sketches.folder(inputs.reading_key())}/neighbours-{content_hash(decided_by)[:12]}.npz"
    if not artifacts.exists(kept):
        on_progress("reading neighbour windows", 0, 0)
        read = neighbour_places.find_places(inputs.subject, inputs.dictionary, inputs.corpus, units, settings)
        artifacts.write(kept, partial(neighbour_places.save, places=read))
    return neighbour_places.load(artifacts.read(kept))
