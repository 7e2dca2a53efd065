"""Makes the planted units: synthetic control units whose true explanations are known."""

from __future__ import annotations

from functools import partial

from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.control_units import planted_names as names
from autointerp.harvest.inputs import Inputs
from autointerp.harvest.plan import SharedPlan
from autointerp.progress import OnProgress
from sae.controls.planted_units import plant_units

__all__ = ["make", "names"]


def make(inputs: Inputs, artifacts: Artifacts, plan: SharedPlan, on_progress: OnProgress) -> None:
    """Write the planted units and their exemplars beside the harvest."""
    spec = inputs.spec
    on_progress("making planted units", 0, 0)
    tables = plant_units(
        inputs.corpus,
        inputs.token_texts,
        n=spec.controls.planted,
        silent=spec.silent_windows,
        window=spec.harvest.window_tokens,
        bins=spec.harvest.bins,
        seed=spec.units.seed,
    )
    for name, table in zip(names(spec), tables, strict=True):
        artifacts.write(plan.name(name), partial(table.to_parquet, index=False))
