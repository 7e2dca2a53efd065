"""The scorers that `score.also` can name. A new scorer is one module and one row of `SCORERS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from autointerp.errors import UsageError
from autointerp.scorers.base import Scorer
from autointerp.scorers.clarity import Clarity
from autointerp.scorers.contrast.contrastive import Contrastive
from autointerp.scorers.contrast.written_contrast import WrittenContrast
from autointerp.scorers.detection import Detection
from autointerp.scorers.distinction import Distinction
from autointerp.scorers.embedding import Embedding
from autointerp.scorers.faithfulness import Faithfulness
from autointerp.scorers.fuzzing import Fuzzing
from autointerp.scorers.intruder import Intruder
from autointerp.scorers.responsiveness import Responsiveness
from autointerp.scorers.sensitivity import Sensitivity
from autointerp.scorers.simulation import Simulation
from autointerp.scorers.sorting import Sort
from autointerp.spec.sections import ScorerName

SCORERS: Mapping[str, Scorer] = {
    scorer.name: scorer
    for scorer in (
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
        WrittenContrast(),
        Distinction(),
    )
}
assert tuple(SCORERS) == get_args(ScorerName), "list the names in the same order in `ScorerName` of spec/sections.py"


def scorer(name: str) -> Scorer:
    """The scorer of that name. Raises `UsageError`."""
    try:
        return SCORERS[name]
    except KeyError:
        raise UsageError(f"score.also: unknown scorer {name!r}: use some of {', '.join(SCORERS)}") from None
