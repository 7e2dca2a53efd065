"""Control units stored beside a harvest: planted units, whose explanations are known, features of random weights, and directions."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from autointerp.harvest import neighbour_windows
from autointerp.hashing import content_hash
from autointerp.records import DIRECTION_KINDS, RANDOM_KINDS
from autointerp.spec.spec import Spec

PLANTED_VERSION = 1
"""Increase it with every change that can alter a planted unit or its windows."""
RANDOM_VERSION = 1
"""Increase it with every change that can alter a random unit or its windows."""
MAX_RANDOM = 32
"""Largest number of random units of each kind."""


def planted_names(spec: Spec) -> tuple[str, ...]:
    """Names of the files of the spec's planted units and of their exemplars; empty if it plants none."""
    if not spec.controls.planted:
        return ()
    settings = [PLANTED_VERSION, spec.controls.planted, spec.silent_windows]
    settings += [spec.harvest.window_tokens, spec.harvest.bins, spec.units.seed]
    key = content_hash(settings)[:12]
    return f"planted-{key}-units.parquet", f"planted-{key}-exemplars.parquet"


def planted_shortfall(spec: Spec, n: int) -> str | None:
    """Why only `n` units were planted; None if they are as many as the spec asks for."""
    asked = spec.controls.planted
    if n >= asked:
        return None
    number = "none" if not n else f"only {n}"
    return (
        f"controls.planted = {asked}, but {number} could be planted: a planted unit needs several contexts with its words, such as"
        " colours or numbers, and the corpus has enough for no more"
    )


def random_kinds(spec: Spec) -> tuple[str, ...]:
    """The kinds of random units and directions that the spec requests."""
    controls = spec.controls
    switches = (
        controls.random_dictionary,
        controls.random_subject,
        controls.basis_directions,
        controls.random_directions,
    )
    kinds = (*RANDOM_KINDS, *DIRECTION_KINDS)
    return tuple(kind for kind, on in zip(kinds, switches, strict=True) if on and n_random(spec))


def n_random(spec: Spec) -> int:
    """Number of random units of each kind that the spec requests."""
    units = spec.units
    return min(MAX_RANDOM, units.features if units.feature_ids is None else len(units.feature_ids))


def names_by_kind(spec: Spec) -> dict[str, tuple[str, str]]:
    """For each kind of random unit in the spec, the names of the files of its units and of their exemplars.

    Everything else that decides these units is in the name of the harvest's folder.
    """
    key = content_hash([RANDOM_VERSION, MAX_RANDOM])[:12]
    return {kind: (f"{kind}-{key}-units.parquet", f"{kind}-{key}-exemplars.parquet") for kind in random_kinds(spec)}


def random_names(spec: Spec) -> tuple[str, ...]:
    """All names of `names_by_kind`."""
    return tuple(name for names in names_by_kind(spec).values() for name in names)


def with_controls(harvest: Path, spec: Spec) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The units and exemplars of a finished harvest, followed by windows of neighbours and by the units and exemplars of the controls.

    `given` holds a planted unit's explanation.
    """
    units, exemplars = pd.read_parquet(harvest / "units.parquet"), pd.read_parquet(harvest / "exemplars.parquet")
    beside = neighbour_windows.names(spec)
    if beside and (harvest / beside[1]).is_file():
        exemplars = pd.concat([exemplars, pd.read_parquet(harvest / beside[1])], ignore_index=True)
    for names in (planted_names(spec), *names_by_kind(spec).values()):
        if names and (harvest / names[1]).is_file():
            others, windows = (pd.read_parquet(harvest / name) for name in names)
            units = pd.concat([units, others], ignore_index=True)
            exemplars = pd.concat([exemplars, windows], ignore_index=True)
    if "given" not in units:
        units["given"] = None
    return units, exemplars
