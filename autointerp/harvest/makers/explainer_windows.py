"""Makes the explainer's additional material: nearest units, effects on the logits, and windows read again for them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pandas as pd

from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.explainer_windows import names, wanted
from autointerp.harvest.inputs import Inputs
from autointerp.harvest.plan import SharedPlan
from autointerp.progress import Tell
from autointerp.records import AidCounts
from sae.analysis import explainer_windows
from sae.analysis.directions import logit_effects, nearest, nearest_within
from sae.harvest.exemplars import EXEMPLAR_COLUMNS
from sae.harvest.harvest import UnitReader
from sae.harvest.units import UnitKey

__all__ = ["make", "names"]

HELD = 12
"""Windows on which an explanation is tested before it is revised, half of them active."""
NEAREST = 8
"""Nearest units looked up for each unit."""


def make(inputs: Inputs, artifacts: Artifacts, plan: SharedPlan, tell: Tell) -> None:
    """Write what the spec needs beside the harvest: nearest units, effects on the logits, and windows."""
    spec = inputs.spec
    tell("reading windows for the explainer", 0, 0)
    most = wanted(spec, *spec.explain.compare)
    units = pd.read_parquet(artifacts.read(plan.name("units.parquet")))
    alive = units.loc[units["status"] == "alive"]
    by_id = {key.unit_id: key for key in (UnitKey(*unit) for unit in plan.units)}
    keys = [by_id[unit_id] for unit_id in alive["unit_id"]]
    within = nearest_within(inputs.subject, inputs.dictionary, keys, NEAREST)
    rows = pd.DataFrame({"unit_id": list(alive["unit_id"]), "alike": [[k.unit_id for k in near] for near in within]})
    if most.logits:
        effects = logit_effects(inputs.subject, inputs.dictionary, keys, most.logits)
        for name in ("raised", "lowered"):
            rows[name] = [list(getattr(effect, name)) if effect else [] for effect in effects]
    near = nearest(inputs.subject, inputs.dictionary, keys, NEAREST) if most.neighbours else [[] for _ in keys]
    rows["nearest"] = [[k.unit_id for k in found] for found in near]
    windows = _windows(inputs, artifacts, plan, alive, keys, near, most)
    for name, table in zip(names(spec), (rows, windows), strict=True):
        artifacts.write(plan.name(name), partial(table.to_parquet, index=False))


def _windows(
    inputs: Inputs,
    artifacts: Artifacts,
    plan: SharedPlan,
    alive: pd.DataFrame,
    keys: Sequence[UnitKey],
    near: Sequence[Sequence[UnitKey]],
    most: AidCounts,
) -> pd.DataFrame:
    if not keys or not (most.contrast or most.neighbours or most.revise):
        return pd.DataFrame(columns=EXEMPLAR_COLUMNS)
    settings = inputs.spec.harvest
    everything = list(dict.fromkeys([*keys, *(key for found in near for key in found)]))
    number = {key: i for i, key in enumerate(everything)}
    return explainer_windows.windows(
        UnitReader(inputs.subject, inputs.dictionary, everything),
        inputs.corpus,
        inputs.token_texts,
        [[number[key] for key in found] for found in near],
        alive["max_activation"].tolist(),
        pd.read_parquet(artifacts.read(plan.name("exemplars.parquet"))),
        explainer_windows.Aids(most.contrast, most.neighbours, HELD if most.revise else 0),
        explainer_windows.Reading(
            settings.window_tokens, settings.bins, settings.skip_positions, plan.norm_limit, inputs.spec.units.seed
        ),
    )
