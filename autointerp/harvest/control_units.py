"""Controls stored beside a harvest: windows of neighbours, planted units, whose explanations are known, features of random weights, and
directions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from autointerp.hashing import content_hash
from autointerp.records import DIRECTION_KINDS, RANDOM_KINDS
from autointerp.spec.spec import Spec

PLANTED_VERSION = 1
"""Increase it with every change that can alter a planted unit or its windows."""
NEIGHBOURS_VERSION = 2
"""Increase it with every change that can alter the neighbours of units or their windows."""
RANDOM_VERSION = 1
"""Increase it with every change that can alter a random unit or its windows."""


@dataclass(frozen=True)
class Form:
    """How many random units of a kind are evaluated at most, and by how much text."""

    units: int
    tokens: int | None = None
    """About how many tokens are read; None for the whole corpus."""
    per_bin: int | None = None
    """Exemplars judged in each bin at most; None for as many as of other units."""
    optional: bool = False
    """Whether the kind is left out, with its reason, if it cannot be made."""

    @property
    def key(self) -> str:
        """The part of this form in the names of files."""
        settings = [RANDOM_VERSION, self.units] + ([self.tokens, self.per_bin] if self.optional else [])
        return content_hash(settings)[:12]


FULL = Form(32)
SMALL = Form(16, tokens=1 << 17, per_bin=2, optional=True)
"""The form by default. Units differ more than the bins of a unit, so many units with few exemplars tell more than few units with many."""


def neighbour_names(spec: Spec) -> tuple[str, ...]:
    """Names of the files of the units' neighbours and of their windows; empty if the spec needs neither."""
    if not spec.controls.neighbours:
        return ()
    key = content_hash([NEIGHBOURS_VERSION, spec.controls.neighbours])[:12]
    return f"neighbours-{key}-units.parquet", f"neighbours-{key}-windows.parquet"


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


def random_forms(spec: Spec) -> dict[str, Form]:
    """The kinds of random units and directions that the spec requests, each with its form; none without features."""
    if not n_random(spec, FULL):
        return {}
    controls = spec.controls
    switches = (
        controls.random_dictionary,
        controls.random_subject,
        controls.basis_directions,
        controls.random_directions,
    )
    kinds = zip((*RANDOM_KINDS, *DIRECTION_KINDS), switches, strict=True)
    return {kind: SMALL if switch == "small" else FULL for kind, switch in kinds if switch}


def n_random(spec: Spec, form: Form) -> int:
    """Number of random units of a kind in this form."""
    units = spec.units
    return min(form.units, units.features if units.feature_ids is None else len(units.feature_ids))


def names_by_kind(spec: Spec) -> dict[str, tuple[str, str]]:
    """For each kind of random unit in the spec, the names of the files of its units and of their exemplars.

    Everything else that decides these units is in the name of the harvest's folder.
    """
    return {
        kind: (f"{kind}-{form.key}-units.parquet", f"{kind}-{form.key}-exemplars.parquet")
        for kind, form in random_forms(spec).items()
    }


def partly_read(spec: Spec) -> list[str]:
    """The kinds of random units that are read from a part of the corpus."""
    return [kind for kind, form in random_forms(spec).items() if form.tokens is not None]


def absence_name(kind: str, form: Form) -> str:
    """Name of the file with the reason why a kind of random unit could not be made. It exists only then, beside empty tables."""
    return f"{kind}-{form.key}-absent.json"


def absences(harvest: Path, spec: Spec) -> Mapping[str, str]:
    """Why kinds of random units that the spec requests were left out, by kind."""
    files = {kind: harvest / absence_name(kind, form) for kind, form in random_forms(spec).items()}
    return {kind: json.loads(file.read_text(encoding="utf-8")) for kind, file in files.items() if file.is_file()}


def random_names(spec: Spec) -> tuple[str, ...]:
    """All names of `names_by_kind`."""
    return tuple(name for names in names_by_kind(spec).values() for name in names)


def with_controls(harvest: Path, spec: Spec) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The units and exemplars of a finished harvest, followed by windows of neighbours and by the units and exemplars of the controls.

    `given` holds a planted unit's explanation.
    """
    units, exemplars = pd.read_parquet(harvest / "units.parquet"), pd.read_parquet(harvest / "exemplars.parquet")
    beside = neighbour_names(spec)
    if beside and (harvest / beside[1]).is_file():
        exemplars = pd.concat([exemplars, pd.read_parquet(harvest / beside[1])], ignore_index=True)
    for names in (planted_names(spec), *names_by_kind(spec).values()):
        if names and (harvest / names[1]).is_file():
            others, windows = (pd.read_parquet(harvest / name) for name in names)
            if others.empty:
                continue
            units = pd.concat([units, others], ignore_index=True)
            exemplars = pd.concat([exemplars, windows], ignore_index=True)
    if "given" not in units:
        units["given"] = None
    return units, exemplars
