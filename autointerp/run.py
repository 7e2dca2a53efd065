"""A run in memory: its spec, its finished harvest, and the paths of its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from autointerp.harvest.given_explanations import GivenExplanations
from autointerp.records import Aids, Exemplar, Item, Unit
from autointerp.spec.rubric import Rubric
from autointerp.spec.spec import Spec


@dataclass(frozen=True)
class Run:
    """A run over a finished harvest, as used by explaining, scoring and reporting."""

    run_id: str
    spec: Spec
    rubric: Rubric
    folder: Path
    """Its results folder."""
    harvest: Path
    """Folder of its harvest."""
    harvest_metadata: Mapping[str, Any]
    """The harvest's `facts.json`: subject, dictionary, corpus, fit check and timings."""
    units: Mapping[str, Unit]
    exemplars: Mapping[str, Sequence[Exemplar]]
    """By unit id."""
    known_explanations: Mapping[str, str] = field(default_factory=dict)
    """Explanations of planted units, by unit id. They need no explainer."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Why kinds of control units that the spec requests could not be made, by kind."""
    given: GivenExplanations | None = None
    """Explanations that the spec gives; None if an explainer is asked for them."""
    neighbours: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By feature, the sampled features with the most similar decoder directions, most similar first."""
    aids: Mapping[str, Aids] | None = None
    """What the explainer may be shown of each unit besides its windows, by unit id; None if it is beside the harvest."""

    @cached_property
    def alive(self) -> Mapping[str, Sequence[str]]:
        """Ids of the alive units, by kind."""
        by_kind: dict[str, list[str]] = {}
        for unit in self.units.values():
            if unit.status == "alive":
                by_kind.setdefault(unit.kind, []).append(unit.unit_id)
        return by_kind

    def exemplar(self, item: Item) -> Exemplar:
        """The exemplar that an item asks about."""
        return next(e for e in self.exemplars[item.unit_id] if e.exemplar_id == item.exemplar_id)

    def bin_of(self, item: Item) -> int:
        """The activation bin of an item's exemplar."""
        return self.exemplar(item).bin
