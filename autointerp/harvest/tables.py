"""The tables of a finished harvest as records."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from autointerp.harvest import random_units
from autointerp.harvest.planted_units import file_names
from autointerp.records import Exemplar, Unit
from autointerp.spec.spec import Spec


def units_of(table: pd.DataFrame) -> list[Unit]:
    """A table's units as records."""
    names = [field.name for field in dataclasses.fields(Unit)]
    return [Unit(**_named(row)) for row in table[names].to_dict("records")]


def exemplars_of(table: pd.DataFrame) -> list[Exemplar]:
    """A table's exemplars as records."""
    rows = [_named(row) for row in table.to_dict("records")]
    for row in rows:
        row["tokens"] = tuple(row["tokens"])
        row["token_activations"] = tuple(float(a) for a in row["token_activations"])
    return [Exemplar(**row) for row in rows]


def _named(row: Mapping[Hashable, Any]) -> dict[str, Any]:
    return {str(name): value for name, value in row.items()}


def with_controls(harvest: Path, spec: Spec) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables of a finished harvest's units and exemplars, the controls' at their ends. `given` is a planted unit's explanation."""
    units, exemplars = pd.read_parquet(harvest / "units.parquet"), pd.read_parquet(harvest / "exemplars.parquet")
    for names in (file_names(spec), *random_units.file_names(spec).values()):
        if names is not None and (harvest / names[1]).is_file():
            others, windows = (pd.read_parquet(harvest / name) for name in names)
            units = pd.concat([units, others], ignore_index=True)
            exemplars = pd.concat([exemplars, windows], ignore_index=True)
    if "given" not in units:
        units["given"] = None
    return units, exemplars
