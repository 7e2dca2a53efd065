"""The tables of a finished harvest as records."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from autointerp.harvest.uncounted_tokens import ContextStarts, derived
from autointerp.records import Exemplar, Unit
from sae.harvest.columns import COUNTED


def units_of(table: pd.DataFrame) -> list[Unit]:
    """A table's units as records. They have some of its columns only (`sae.harvest.columns.UNIT_COLUMNS`)."""
    names = [field.name for field in dataclasses.fields(Unit)]
    return [Unit(**_named(row)) for row in table[names].to_dict("records")]


def exemplars_of(table: pd.DataFrame, starts: ContextStarts | None = None) -> list[Exemplar]:
    """A table's exemplars as records, which have some of its columns only (`sae.harvest.columns.EXEMPLAR_COLUMNS`).

    In a table of an earlier version, which does not say which tokens are counted, that is derived from `starts`, if given.
    """
    names = [*(field.name for field in dataclasses.fields(Exemplar)), COUNTED]
    columns = table[[name for name in names if name in table]]
    return [_exemplar(_named(row), starts) for row in columns.to_dict("records")]


def _exemplar(row: dict[str, Any], starts: ContextStarts | None) -> Exemplar:
    row["tokens"] = tuple(row["tokens"])
    row["token_activations"] = tuple(float(a) for a in row["token_activations"])
    counted = row.pop(COUNTED, None)
    if isinstance(counted, np.ndarray | list):
        uncounted = frozenset(np.flatnonzero(~np.asarray(counted, dtype=bool)).tolist())
        return Exemplar(**row, uncounted=uncounted)
    uncounted = derived(row["tokens"], row["mark"], row["position"], starts) if starts else frozenset()
    return Exemplar(**row, uncounted=uncounted, has_uncounted_activations=True)


def _named(row: Mapping[Hashable, Any]) -> dict[str, Any]:
    return {str(name): value for name, value in row.items()}
