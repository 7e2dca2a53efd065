"""A finished harvest: its files, and whether all files that a spec requests beside them exist."""

from __future__ import annotations

from pathlib import Path

from autointerp.harvest import control_units, dictionary_checks, explainer_windows, unit_sides
from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.plan import SharedPlan
from autointerp.spec.spec import Spec

FILES = ("units.parquet", "exemplars.parquet", "facts.json")
"""The files of every finished harvest. The last of them is written last: a harvest that has it is finished."""
SIDE_FILES = (
    dictionary_checks.names,
    control_units.planted_names,
    control_units.random_names,
    explainer_windows.names,
    control_units.neighbour_names,
    unit_sides.names,
)
"""Functions that return the names of the files that a spec requests beside a finished harvest."""
_PREFIXES = ("studies-", "planted-", "random_", "basis_", "aids-", "neighbours-", "sides-", "token-effects-")


def finished_harvest(artifacts: Artifacts, key: str) -> Path | None:
    """The local folder of a finished harvest, fetched from remote storage if necessary; None if it is not finished."""
    return local_folder(artifacts, key) if artifacts.exists(f"harvest-{key}/{FILES[-1]}") else None


def is_complete(spec: Spec, artifacts: Artifacts, plan: SharedPlan) -> bool:
    """Whether the harvest is finished and has all side files of the spec, so that nothing is left to merge."""
    side_files = [name for names in SIDE_FILES for name in names(spec)]
    return all(artifacts.exists(plan.name(name)) for name in (FILES[-1], *side_files))


def local_folder(artifacts: Artifacts, key: str) -> Path:
    """The local folder of a finished harvest with all its files. Raises `FileNotFoundError` if one of `FILES` is missing."""
    for prefix in _PREFIXES:
        for name in artifacts.list(f"harvest-{key}/{prefix}"):
            artifacts.read(name)
    return [artifacts.read(f"harvest-{key}/{file}") for file in FILES][-1].parent
