"""Makes the aids of the explainer: nearest units, effects on the logits, and windows from contexts that are read again.

They depend on the exemplars that the explainer is shown, and not on those that are judged. They are kept beside the sketch too, for
harvests that show the explainer the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pandas as pd

from autointerp.harvest import kept_sketches
from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.explainer_windows import names, requested_aids
from autointerp.harvest.inputs import Inputs
from autointerp.harvest.plan import SharedPlan
from autointerp.hashing import content_hash
from autointerp.progress import OnProgress
from autointerp.records import AidCounts
from sae.analysis.context_search import shown_to_explainer
from sae.analysis.directions import logit_effects, nearest, nearest_within
from sae.analysis.explainer_windows import WindowCounts, WindowSettings, find_windows
from sae.harvest.columns import EXEMPLAR_COLUMNS
from sae.harvest.harvest import UnitReader
from sae.harvest.units import UnitKey

__all__ = ["make", "names"]

HELD = 12
"""Windows on which an explanation is tested before it is revised; half of them are active."""
NEAREST = 8
"""Nearest units stored for each unit."""


def make(inputs: Inputs, artifacts: Artifacts, plan: SharedPlan, on_progress: OnProgress) -> None:
    """Write the aids that the spec needs beside the harvest."""
    units = pd.read_parquet(artifacts.read(plan.name("units.parquet")))
    alive = units.loc[units["status"] == "alive"]
    shown = shown_to_explainer(pd.read_parquet(artifacts.read(plan.name("exemplars.parquet"))))
    beside = names(inputs.spec)
    kept = [_kept_name(inputs, plan, name, alive, shown) for name in beside]
    if not all(map(artifacts.exists, kept)):
        on_progress("reading explainer windows", 0, 0)
        for name, table in zip(kept, _tables(inputs, plan, alive, shown), strict=True):
            artifacts.write(name, partial(table.to_parquet, index=False))
    for name, source in zip(beside, kept, strict=True):
        artifacts.copy(source, plan.name(name))


def _kept_name(inputs: Inputs, plan: SharedPlan, name: str, alive: pd.DataFrame, shown: pd.DataFrame) -> str:
    """The name of a file of aids beside the sketch: all that decides them, and is not of the reading, is in it."""
    windows = shown[["unit_id", "role", "document", "position"]]
    decided_by = [plan.norm_limit, inputs.spec.harvest.bins, list(alive["unit_id"]), windows.to_numpy().tolist()]
    return f"{kept_sketches.folder(inputs.reading_key())}/{content_hash(decided_by)[:12]}-{name}"


def _tables(
    inputs: Inputs, plan: SharedPlan, alive: pd.DataFrame, shown: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The aids of the units that are alive, and their windows."""
    aids = requested_aids(inputs.spec, *inputs.spec.explain.compare)
    by_id = {key.unit_id: key for key in (UnitKey(*unit) for unit in plan.units)}
    keys = [by_id[unit_id] for unit_id in alive["unit_id"]]
    within = nearest_within(inputs.subject, inputs.dictionary, keys, NEAREST)
    rows = pd.DataFrame({"unit_id": list(alive["unit_id"]), "alike": [[k.unit_id for k in near] for near in within]})
    if aids.logits:
        effects = logit_effects(inputs.subject, inputs.dictionary, keys, aids.logits)
        for name in ("raised", "lowered"):
            rows[name] = [list(getattr(effect, name)) if effect else [] for effect in effects]
    near = nearest(inputs.subject, inputs.dictionary, keys, NEAREST) if aids.neighbours else [[] for _ in keys]
    rows["nearest"] = [[k.unit_id for k in neighbours] for neighbours in near]
    return rows, _windows(inputs, plan, alive, shown, keys, near, aids)


def _windows(
    inputs: Inputs,
    plan: SharedPlan,
    alive: pd.DataFrame,
    shown: pd.DataFrame,
    keys: Sequence[UnitKey],
    near: Sequence[Sequence[UnitKey]],
    aids: AidCounts,
) -> pd.DataFrame:
    if not keys or not (aids.contrast or aids.neighbours or aids.revise):
        return pd.DataFrame(columns=EXEMPLAR_COLUMNS)
    settings = inputs.spec.harvest
    to_read = list(dict.fromkeys([*keys, *(key for neighbours in near for key in neighbours)]))
    number = {key: i for i, key in enumerate(to_read)}
    return find_windows(
        UnitReader(inputs.subject, inputs.dictionary, to_read),
        inputs.corpus,
        inputs.token_texts,
        [[number[key] for key in neighbours] for neighbours in near],
        alive["max_activation"].tolist(),
        shown,
        WindowCounts(aids.contrast, aids.neighbours, HELD if aids.revise else 0),
        WindowSettings(
            settings.window_tokens, settings.bins, settings.skip_positions, plan.norm_limit, inputs.spec.units.seed
        ),
    )
