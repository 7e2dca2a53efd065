"""A way to find features, and what it returns for one dictionary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from autointerp.studies.workbench import Studied, Workbench
    from sae.studies.readings import TextValues

KEPT = 1000
"""Largest number of features of one dictionary that a finding lists."""


@dataclass(frozen=True)
class Found:
    """Features with their scores, the best first: columns `feature`, `score` and those of the way."""

    frame: pd.DataFrame
    sentence: str
    """What was found, with its figures."""
    values: TextValues | None = None
    """The texts in which the strongest contexts are looked for; by default they are those of the dictionary's run."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    n_first: int = 0
    """With two sets of texts, the number of texts of the first one, which come first in `values`."""


class Way(Protocol):
    """A way to find features, with its settings as a frozen dataclass of JSON values."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    name: ClassVar[str]
    """The option that chooses it."""
    columns: ClassVar[dict[str, str]]
    """The columns of `Found.frame` that are shown, with their headings."""

    @property
    def title(self) -> str:
        """The title of the finding."""
        ...

    def find(self, bench: Workbench, studied: Studied) -> Found:
        """The features of one dictionary. Raises `UsageError` and `SaeError`."""
        ...


class Best:
    """The features with the highest scores above 0, gathered a chunk of features at a time."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._frame = pd.DataFrame({"feature": np.zeros(0, dtype=np.int64), "score": np.zeros(0)})
        self.n = 0
        """Features with a score above 0."""

    def add(self, start: int, score: np.ndarray, **columns: np.ndarray) -> None:
        """Add features `start` on: their scores (count,), and more columns of the same length."""
        good = np.flatnonzero(score > 0)
        self.n += len(good)
        new = pd.DataFrame({"feature": good + start, "score": score[good].astype(np.float64)})
        new = new.assign(**{name: values[good] for name, values in columns.items()})
        joined = new if self._frame.empty else pd.concat([self._frame, new], ignore_index=True)
        self._frame = joined.sort_values("score", ascending=False, kind="stable").head(self._kept)

    @property
    def frame(self) -> pd.DataFrame:
        """The best ones, the highest score first; of equal scores the lower number first."""
        return self._frame.reset_index(drop=True)
