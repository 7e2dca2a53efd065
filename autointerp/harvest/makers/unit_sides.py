"""Measures both sides of the sampled units: what makes them fire, and what they make the subject say."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd

from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.inputs import Inputs
from autointerp.harvest.plan import SharedPlan
from autointerp.harvest.unit_sides import COLUMNS, names
from autointerp.progress import OnProgress
from sae.analysis.two_sides import Counted, TwoSides, two_sides
from sae.harvest.units import UnitKey

__all__ = ["make", "names"]


def make(inputs: Inputs, artifacts: Artifacts, plan: SharedPlan, on_progress: OnProgress) -> None:
    """Write the sides of the units that are alive beside the harvest."""
    units = pd.read_parquet(artifacts.read(plan.name("units.parquet")))
    largest = dict(zip(units["unit_id"], units["max_activation"], strict=True))
    alive = set(units.loc[units["status"] == "alive", "unit_id"])
    keys = [key for key in (UnitKey(*unit) for unit in plan.units) if key.unit_id in alive]
    on_progress("measuring both sides", 0, len(keys))
    sides = two_sides(
        inputs.subject,
        inputs.dictionary,
        inputs.corpus,
        {key: float(largest[key.unit_id]) for key in keys},
        pd.read_parquet(artifacts.read(plan.name("exemplars.parquet"))),
        Counted(inputs.spec.harvest.skip_positions, plan.norm_limit, inputs.spec.units.seed),
        partial(on_progress, "measuring both sides"),
    )
    table = pd.DataFrame([_row(unit) for unit in sides], columns=COLUMNS)
    [name] = names(inputs.spec)
    artifacts.write(plan.name(name), partial(table.to_parquet, index=False))


def _row(unit: TwoSides) -> dict[str, Any]:
    row: dict[str, Any] = {"unit_id": unit.unit_id, "side": unit.side}
    if unit.input is not None:
        row |= {"input_told": unit.input.told, "input_p": unit.input.p}
    if unit.output is None:
        return row
    effect = unit.output
    return row | {
        "output_rise": effect.rise,
        "output_random_rise": effect.random_rise,
        "output_p": effect.p,
        "output_precision": effect.precision,
        "output_random_precision": effect.random_precision,
        "decoder_precision": effect.decoder_precision,
        "decoder_random_precision": effect.random_decoder_precision,
        "raised": list(effect.raised),
        "decoder_raised": list(effect.decoder_raised),
    }
