"""The files of a comparison in the folder of an index: the nearest features of another index, and what the comparison is of.

    matches-ID.parquet   one row for each feature of the index, in their order
    matches-ID.json      the two indexes, and how their runs' grades differ; written last

ID is the beginning of the other index's identity. Both indexes have these files, each from its own side.
"""

from __future__ import annotations

from typing import Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from autointerp.explorer.index.schema import columns

SCHEMA_VERSION = 1
NEAR = 0.5
"""Least cosine of two features that are called near."""
FOUND = (0.5, 0.7, 0.9)
"""Cosines at which features are counted that are found again. Paulo and Belrose (2025) call a feature shared above 0.7."""
Relation = Literal["same", "space", "apart"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class MeasureDifference(_Frozen):
    """One measure of the grades of two runs: the other run minus the own one."""

    title: str
    """The measure in a few words."""
    own: float | None
    """Its mean in the own run."""
    other: float | None
    """Its mean in the other run."""
    difference: float | None
    """The other mean minus the own one."""
    low: float | None
    """Lower end of the interval of the difference."""
    high: float | None
    """Upper end of the interval of the difference."""
    smallest: float | None
    """The smallest difference that a comparison of this size would have found with a probability of 80%."""
    n_units: int
    """Units that were compared."""
    verdict: str
    """`better`, `worse` or `cannot be told`."""
    why: str | None
    """Why the difference or its interval is missing."""


class Grades(_Frozen):
    """How the grades of two runs differ, as `autointerp compare` finds it."""

    verdict: str
    """The verdict in one sentence, or the reason why there is none."""
    tone: str
    """`better`, `worse` or `cannot be told`; empty without a comparison."""
    confidence: float
    """Probability that an interval covers the true difference."""
    notes: list[str]
    """Sentences that have to be known with the verdict."""
    measures: list[MeasureDifference]
    """Every measure that both runs have, that of the verdict first."""
    changed: dict[str, str]
    """Units of one dictionary whose grades changed beyond chance: `higher` or `lower` in the other run."""


class Matching(_Frozen):
    """`matches-ID.json`, written last: the parquet file of a folder counts once it is there."""

    schema_version: int = SCHEMA_VERSION
    """Raised when a field or column is removed or changes its meaning."""
    own: str
    """Identity of the index in whose folder the file is."""
    other: str
    """Identity of the other index."""
    run: str | None
    """Id of the run in whose folder the other index is; null for an index of its own."""
    relation: Relation
    """`same` for one dictionary in two indexes, `space` for two that write to one space, `apart` if features cannot be matched."""
    why: str
    """The relation in a sentence."""
    same_tokens: bool
    """Whether both indexes counted the same tokens of the same corpus."""
    chance: float | None
    """Cosine that 1% of features exceed with their nearest after a random rotation; null unless the relation is `space`."""
    graded: str
    """Hash of the results of both runs, from which `grades` is."""
    grades: Grades | None
    """How the grades of the two runs differ; null if not both indexes are of runs."""


MATCHES = columns(
    ("row", pa.int32(), "The feature's row in `units.parquet`."),
    ("nearest", pa.int32(), "Row of the nearest feature in the other index; null if no cosine is above 0."),
    ("cosine", pa.float32(), "Cosine of their decoder vectors; 1 for the same feature of one dictionary."),
    ("mutual", pa.bool_(), "Whether each is the nearest of the other."),
    (
        "children",
        pa.list_(pa.struct([("row", pa.int32()), ("cosine", pa.float32())])),
        f"Features of the other index whose nearest is this one, with a cosine of {NEAR} or more, the largest first.",
    ),
    (
        "shared",
        pa.int16(),
        "Tokens at which both features have one of their strongest examples; null if the indexes counted other tokens.",
    ),
    (
        "compared",
        pa.int16(),
        "The number of strongest examples of the feature with fewer: the most that `shared` can be.",
    ),
)
