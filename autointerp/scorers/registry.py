"""The other evaluations of a run's units, by name. Each is one file; a new one is added to `_ALL`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from autointerp.errors import UsageError
from autointerp.scorers.base import Scorer
from autointerp.scorers.clarity import Clarity
from autointerp.scorers.contrastive import Contrastive
from autointerp.scorers.detection import Detection
from autointerp.scorers.embedding import Embedding
from autointerp.scorers.faithfulness import Faithfulness
from autointerp.scorers.fuzzing import Fuzzing
from autointerp.scorers.intruder import Intruder
from autointerp.scorers.responsiveness import Responsiveness
from autointerp.scorers.sensitivity import Sensitivity
from autointerp.scorers.simulation import Simulation
from autointerp.scorers.sorting import Sort
from autointerp.spec.sections import ScorerName

_ALL: tuple[Scorer, ...] = (
    Detection(),
    Fuzzing(),
    Simulation(),
    Embedding(),
    Intruder(),
    Contrastive(),
    Sort(),
    Clarity(),
    Responsiveness(),
    Faithfulness(),
    Sensitivity(),
)
SCORERS: Mapping[str, Scorer] = {scorer.name: scorer for scorer in _ALL}
assert tuple(SCORERS) == get_args(ScorerName), "a scorer is missing here or in the spec"


def scorer(name: str) -> Scorer:
    """The evaluation of that name. Raises `UsageError`."""
    try:
        return SCORERS[name]
    except KeyError:
        raise UsageError(f"score.also: {name!r} is no evaluation: use some of {', '.join(SCORERS)}") from None
