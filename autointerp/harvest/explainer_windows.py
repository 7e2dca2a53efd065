"""Aids: material for the explainer beyond a unit's own windows, stored beside the harvest.

An aid is used for all explanations (`explain.contrast` and so on), or compared: then each unit gets a second explanation made with
it, and both are judged on the same exemplars, so that `stats.aid_effects` can estimate the difference.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import pandas as pd

from autointerp.harvest.tables import exemplars_of
from autointerp.hashing import content_hash
from autointerp.records import AidCounts, Aids, Exemplar
from autointerp.spec.spec import Spec

VERSION = 1
"""Increase it with every change that can alter the aids."""
WINDOWS, TOKENS = 5, 10
"""Windows and tokens shown with a compared aid whose size the spec does not set."""


def requested_aids(spec: Spec, *aids: str) -> AidCounts:
    """The spec's own aids and those named in `aids`, with their sizes."""
    own = spec.explain
    return AidCounts(
        own.contrast or WINDOWS * ("contrast" in aids),
        own.neighbours or WINDOWS * ("neighbours" in aids),
        own.logits or TOKENS * ("logits" in aids),
        own.revise or "revise" in aids,
    )


def names(spec: Spec) -> tuple[str, ...]:
    """Names of the files of the units' aids and of their windows; empty if the spec needs neither.

    Some other scorers need the nearest units of the sample, so these files exist for them too.
    """
    aids = requested_aids(spec, *spec.explain.compare)
    if not aids and not spec.score.also:
        return ()
    key = content_hash([VERSION, dataclasses.astuple(aids), spec.units.seed])[:12]
    return f"aids-{key}-units.parquet", f"aids-{key}-windows.parquet"


def aids_of_unit(harvest: Path, spec: Spec, unit_id: str) -> Aids:
    """The aids of a unit, read from beside a finished harvest; empty if the spec needs none."""
    files = names(spec)
    return _read(harvest, files).get(unit_id, Aids()) if files else Aids()


def similar_units(harvest: Path, spec: Spec) -> dict[str, list[str]]:
    """For each unit, the units of its kind in the sample with the most similar directions, nearest first."""
    files = names(spec)
    if not files or not (harvest / files[0]).is_file():
        return {}
    table = pd.read_parquet(harvest / files[0], columns=["unit_id", "alike"])
    return {unit_id: list(near) for unit_id, near in zip(table["unit_id"], table["alike"], strict=True)}


@lru_cache(maxsize=4)
def _read(harvest: Path, files: tuple[str, ...]) -> Mapping[str, Aids]:
    units, windows = (pd.read_parquet(harvest / name) for name in files)
    by_role: dict[tuple[str, str], list[Exemplar]] = {}
    for exemplar in exemplars_of(windows):
        by_role.setdefault((exemplar.unit_id, exemplar.role), []).append(exemplar)
    tokens = {name: units[name] if name in units else [()] * len(units) for name in ("raised", "lowered")}
    return {
        unit_id: Aids(
            contrast=tuple(by_role.get((unit_id, "contrast"), ())),
            neighbours=tuple(by_role.get((unit_id, "neighbour"), ())),
            held_out=tuple(by_role.get((unit_id, "held"), ())),
            raised=tuple(raised),
            lowered=tuple(lowered),
        )
        for unit_id, raised, lowered in zip(units["unit_id"], tokens["raised"], tokens["lowered"], strict=True)
    }
