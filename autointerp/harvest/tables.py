"""The tables of a finished harvest as records."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from autointerp.records import Exemplar, Unit


def units_of(table: pd.DataFrame) -> list[Unit]:
    """A table's units as records. They have some of its columns only (`sae.harvest.columns.UNIT_COLUMNS`)."""
    names = [field.name for field in dataclasses.fields(Unit)]
    return [Unit(**_named(row)) for row in table[names].to_dict("records")]


def exemplars_of(table: pd.DataFrame) -> list[Exemplar]:
    """A table's exemplars as records. They have some of its columns only (`sae.harvest.columns.EXEMPLAR_COLUMNS`)."""
    names = [field.name for field in dataclasses.fields(Exemplar)]
    rows = [_named(row) for row in table[names].to_dict("records")]
    for row in rows:
        row["tokens"] = tuple(row["tokens"])
        row["token_activations"] = tuple(float(a) for a in row["token_activations"])
    return [Exemplar(**row) for row in rows]


def _named(row: Mapping[Hashable, Any]) -> dict[str, Any]:
    return {str(name): value for name, value in row.items()}
