"""The features of all dictionaries of a study, numbered through, with their names and explanations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from autointerp.errors import UsageError
from autointerp.studies.unit_names import find_unit
from autointerp.studies.workbench import Studied
from sae.studies.nearest_directions import Directions
from sae.subject.model import Subject


@dataclass(frozen=True)
class Features:
    """Features by number: those of the first dictionary first, as in `directions`."""

    studied: tuple[Studied, ...]
    directions: Directions

    @classmethod
    def of(cls, studied: tuple[Studied, ...], device: torch.device) -> Features:
        """The features of these dictionaries. Raises `SaeError` if their directions cannot be compared."""
        return cls(studied, Directions.of([each.dictionary for each in studied], device))

    @cached_property
    def names(self) -> list[str]:
        """The name of each feature, with that of its dictionary before it if there are several."""
        several = len(self.studied) > 1
        return [
            f"{each.name}:feature-{index}" if several else f"feature-{index}"
            for each in self.studied
            for index in range(each.dictionary.d_sae)
        ]

    @cached_property
    def explanations(self) -> list[str]:
        """The explanation of each feature, or an empty text."""
        return [each.explanation(f"feature-{index}") for each in self.studied for index in range(each.dictionary.d_sae)]

    @cached_property
    def explained(self) -> NDArray[np.int64]:
        """The numbers of the features with an explanation."""
        return np.flatnonzero(np.array([bool(text) for text in self.explanations])).astype(np.int64)

    def numbers(self, units: Sequence[str], subject: Subject) -> list[int]:
        """The numbers of features as a user names them. Raises `UsageError` for a neuron and for one that does not exist."""
        found = []
        for name in units:
            owner, unit = find_unit(name, self.studied, subject)
            if unit.kind != "feature":
                raise UsageError(f"unit {name!r} is a neuron: neighbours are those of features")
            start = self.directions.starts[[each is owner for each in self.studied].index(True)]
            found.append(start + unit.index)
        return list(dict.fromkeys(found))

    def label(self, number: int) -> str:
        """A feature's name with its explanation, if it has one."""
        text = self.explanations[number]
        return f"{self.names[number]} ({text})" if text else self.names[number]
