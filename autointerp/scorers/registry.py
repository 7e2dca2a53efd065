"""The scorers that `score.also` can name. A new scorer is one module and one row of `SCORERS`, or an entry point of another package."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

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
from autointerp.spec import third_party
from autointerp.spec.sections import SCORER_NAMES

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
assert tuple(SCORERS) == SCORER_NAMES, "list the names in the same order in `SCORER_NAMES` of spec/sections.py"


def scorer(name: str) -> Scorer:
    """The scorer of that name, from this program or another package. Raises `UsageError`."""
    if name in SCORERS:
        return SCORERS[name]
    if name in third_party.offered(third_party.SCORERS):
        return _of_package(name)
    raise UsageError(f"score.also: unknown scorer {name!r}: use some of {', '.join(names())}")


def names() -> list[str]:
    """The names of all scorers, those of other packages last."""
    return [*SCORERS, *(name for name in third_party.offered(third_party.SCORERS) if name not in SCORERS)]


@cache
def _of_package(name: str) -> Scorer:
    point = third_party.offered(third_party.SCORERS)[name]
    found = third_party.load(point)
    package = third_party.package_of(point)
    if not (isinstance(found, type) and issubclass(found, Scorer)):
        raise UsageError(
            f"{name} of the package {package} is not a scorer: let it be a subclass of autointerp.scorers.base.Scorer"
        )
    try:
        made = found()
    except TypeError as error:
        raise UsageError(f"{name} of the package {package} cannot be used ({error}): update that package") from None
    if made.name != name:
        raise UsageError(
            f"{name} of the package {package} calls itself {made.name!r}: both names must be the same, update that package"
        )
    return made
