"""What an explainer may be shown beyond a unit's own windows, made beside the harvest.

An aid is on for all explanations (`explain.contrast` and so on), or compared: then each unit gets a second explanation that is made
with it, and both are judged on the same exemplars: `variants` says what that brought.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.inputs import Inputs
from autointerp.harvest.plan import HarvestPlanFile
from autointerp.harvest.tables import exemplars_of
from autointerp.hashing import content_hash
from autointerp.progress import Tell
from autointerp.records import Aids, Exemplar, Wanted
from autointerp.spec.spec import Spec
from sae.harvest.units import UnitKey
from sae.subject.token_text import token_texts

VERSION = 1
"""Raise it with every change that can alter what is found."""
WINDOWS, TOKENS = 5, 10
"""Windows and tokens shown where an aid is compared that the spec leaves out."""
HELD = 12
"""Windows on which an explanation is tested before it is mended, half of them active."""
NEAREST = 8
"""Units of nearest direction that are looked at."""


def wanted(spec: Spec, *aids: str) -> Wanted:
    """The spec's own aids, and those of `aids` besides."""
    own = spec.explain
    return Wanted(
        own.contrast or WINDOWS * ("contrast" in aids),
        own.neighbours or WINDOWS * ("neighbours" in aids),
        own.logits or TOKENS * ("logits" in aids),
        own.revise or "revise" in aids,
    )


def file_names(spec: Spec) -> tuple[str, str] | None:
    """Names of the files of the units' aids and of their windows, or None where the spec needs none.

    Other scorers need the neighbours among the sample.
    """
    most = wanted(spec, *spec.explain.compare)
    if not most and not spec.score.also:
        return None
    key = content_hash([VERSION, dataclasses.astuple(most), spec.units.seed])[:12]
    return f"aids-{key}-units.parquet", f"aids-{key}-windows.parquet"


def are_there(spec: Spec, artifacts: Artifacts, plan: HarvestPlanFile) -> bool:
    """Whether what the spec needs is made."""
    names = file_names(spec)
    return names is None or all(artifacts.exists(plan.name(name)) for name in names)


def make(inputs: Inputs, artifacts: Artifacts, plan: HarvestPlanFile, tell: Tell) -> None:
    """Write what the spec needs beside the harvest: neighbours, effects on the logits, and windows read anew."""
    from sae.analysis.directions import logit_effects, nearest, nearest_within

    spec, names = inputs.spec, file_names(inputs.spec)
    assert names is not None
    tell("looking for what helps the explainer", 0, 0)
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
    for name, table in zip(names, (rows, windows), strict=True):
        artifacts.write(plan.name(name), partial(table.to_parquet, index=False))


def _windows(
    inputs: Inputs,
    artifacts: Artifacts,
    plan: HarvestPlanFile,
    alive: pd.DataFrame,
    keys: Sequence[Any],
    near: Sequence[Sequence[Any]],
    most: Wanted,
) -> pd.DataFrame:
    from sae.analysis import explainer_windows
    from sae.harvest.exemplars import EXEMPLAR_COLUMNS
    from sae.harvest.harvest import UnitReader

    if not keys or not (most.contrast or most.neighbours or most.revise):
        return pd.DataFrame(columns=EXEMPLAR_COLUMNS)

    def texts(ids: np.ndarray) -> list[str]:
        return token_texts(inputs.subject.tokenizer, ids.tolist())

    settings = inputs.spec.harvest
    everything = list(dict.fromkeys([*keys, *(key for found in near for key in found)]))
    number = {key: i for i, key in enumerate(everything)}
    return explainer_windows.windows(
        UnitReader(inputs.subject, inputs.dictionary, everything),
        inputs.corpus,
        texts,
        [[number[key] for key in found] for found in near],
        alive["max_activation"].tolist(),
        pd.read_parquet(artifacts.read(plan.name("exemplars.parquet"))),
        explainer_windows.Aids(most.contrast, most.neighbours, HELD if most.revise else 0),
        explainer_windows.Reading(
            settings.window_tokens, settings.bins, settings.skip_positions, plan.norm_limit, inputs.spec.units.seed
        ),
    )


def of_unit(harvest: Path, spec: Spec, unit_id: str) -> Aids:
    """All that was found for a unit beside a finished harvest; nothing where there is none."""
    names = file_names(spec)
    return _read(harvest, names).get(unit_id, Aids()) if names else Aids()


def alike(harvest: Path, spec: Spec) -> dict[str, list[str]]:
    """By unit, those of the sample and of its kind whose directions are nearest, nearest first."""
    names = file_names(spec)
    if names is None or not (harvest / names[0]).is_file():
        return {}
    table = pd.read_parquet(harvest / names[0], columns=["unit_id", "alike"])
    return {unit_id: list(near) for unit_id, near in zip(table["unit_id"], table["alike"], strict=True)}


@lru_cache(maxsize=4)
def _read(harvest: Path, names: tuple[str, str]) -> Mapping[str, Aids]:
    units, windows = (pd.read_parquet(harvest / name) for name in names)
    found: dict[tuple[str, str], list[Exemplar]] = {}
    for exemplar in exemplars_of(windows):
        found.setdefault((exemplar.unit_id, exemplar.role), []).append(exemplar)
    tokens = {name: units[name] if name in units else [()] * len(units) for name in ("raised", "lowered")}
    return {
        unit_id: Aids(
            contrast=tuple(found.get((unit_id, "contrast"), ())),
            neighbours=tuple(found.get((unit_id, "neighbour"), ())),
            held=tuple(found.get((unit_id, "held"), ())),
            raised=tuple(raised),
            lowered=tuple(lowered),
        )
        for unit_id, raised, lowered in zip(units["unit_id"], tokens["raised"], tokens["lowered"], strict=True)
    }
