"""A finished harvest: its files, and whether everything that a spec wants beside them is there."""

from __future__ import annotations

from pathlib import Path

from autointerp.harvest import control_units, dictionary_checks, explainer_windows
from autointerp.harvest.artifacts import Artifacts
from autointerp.harvest.plan import SharedPlan
from autointerp.spec.spec import Spec

FILES = ("units.parquet", "exemplars.parquet", "facts.json")
"""The files of every finished harvest. The last one is written last, so a harvest that has it is finished."""
SIDE_FILES = (
    dictionary_checks.names,
    control_units.planted_names,
    control_units.random_names,
    explainer_windows.names,
)
"""The files that a spec can want beside a finished harvest: each function gives their names."""
_PREFIXES = ("studies-", "planted-", "random_", "aids-")


def finished_harvest(artifacts: Artifacts, key: str) -> Path | None:
    """The local folder of a finished harvest, fetched from remote storage if need be; None when it is not finished."""
    return local_folder(artifacts, key) if artifacts.exists(f"harvest-{key}/{FILES[-1]}") else None


def is_complete(spec: Spec, artifacts: Artifacts, plan: SharedPlan) -> bool:
    """Whether the harvest is finished and the spec's side files are beside it, so that nothing is left to merge."""
    wanted = [name for names in SIDE_FILES for name in names(spec)]
    return all(artifacts.exists(plan.name(name)) for name in (FILES[-1], *wanted))


def local_folder(artifacts: Artifacts, key: str) -> Path:
    """The local folder of a finished harvest with all its files. Raises `FileNotFoundError` where one of `FILES` is missing."""
    for prefix in _PREFIXES:
        for name in artifacts.list(f"harvest-{key}/{prefix}"):
            artifacts.read(name)
    return [artifacts.read(f"harvest-{key}/{file}") for file in FILES][-1].parent
