"""A run as the program holds it: the spec, its inputs' names, and where its files lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from autointerp.records import Exemplar, Item, Unit
from autointerp.spec.rubric import Rubric
from autointerp.spec.spec import Spec


@dataclass(frozen=True)
class Run:
    """A run as its stages see it: the spec, the harvest's outcome, and where its rows and files go."""

    run_id: str
    spec: Spec
    rubric: Rubric
    folder: Path
    harvest: Path
    facts: Mapping[str, Any]
    units: Mapping[str, Unit]
    exemplars: Mapping[str, Sequence[Exemplar]]
    """By unit."""

    given: Mapping[str, str] = field(default_factory=dict)
    """Explanations that need no explainer: those of planted units."""
    neighbours: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By feature, those of the sample whose decoder directions are nearest, nearest first."""

    @cached_property
    def alive(self) -> Mapping[str, Sequence[str]]:
        """Units that are alive, by kind."""
        found: dict[str, list[str]] = {}
        for unit in self.units.values():
            if unit.status == "alive":
                found.setdefault(unit.kind, []).append(unit.unit_id)
        return found

    def exemplar(self, item: Item) -> Exemplar:
        return next(e for e in self.exemplars[item.unit_id] if e.exemplar_id == item.exemplar_id)

    def bin_of(self, item: Item) -> int:
        return self.exemplar(item).bin
