"""The units of a steering command: which, how strongly, where, and what their maxima are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq

from autointerp.errors import UsageError
from autointerp.studies.unit_names import find_unit
from autointerp.studies.workbench import Studied, Workbench
from sae.harvest.units import UnitKey
from sae.studies.intervention import Target
from sae.studies.positions import Positions, parse_positions
from sae.studies.unit_maxima import maxima_over_corpus, maxima_over_texts

CORPUS_TOKENS = 16_384
"""Tokens of the corpus over which the maximum of a unit is measured, if no run knows it."""


@dataclass(frozen=True)
class SteeredUnit:
    """A unit with its factor, its positions, its maximum and where the maximum was found."""

    studied: Studied
    unit: UnitKey
    factor: float
    positions: Positions
    maximum: float
    source: str

    @property
    def name(self) -> str:
        """The unit's id, with the factor if it is not 1."""
        return self.unit.unit_id if self.factor == 1 else f"{self.unit.unit_id}={self.factor:g}"

    @property
    def explanation(self) -> str:
        """The unit's explanation in its run, or an empty text."""
        return self.studied.explanation(self.unit.unit_id)

    @property
    def target(self) -> Target:
        """The unit as an intervention sets it."""
        return Target(self.studied.dictionary, self.unit, self.factor * self.maximum, self.positions)


@dataclass(frozen=True)
class _Requested:
    studied: Studied
    unit: UnitKey
    factor: float
    positions: Positions


def parse_unit(text: str, bench: Workbench) -> _Requested:
    """A unit such as `641`, `neuron-12+=0.5` or `resid_post.6:641=-2@3-5`. Raises `UsageError` and `SaeError`."""
    name, at, positions = text.partition("@")
    name, equals, factor = name.partition("=")
    studied, unit = find_unit(name, bench.studied, bench.subject)
    try:
        number = float(factor) if equals else 1.0
    except ValueError:
        raise UsageError(f"unit {text!r}: {factor!r} is not a number: write a factor, such as {name}=0.5") from None
    return _Requested(studied, unit, number, parse_positions(positions if at else "all"))


def opened_units(bench: Workbench, units: Sequence[str], texts: Sequence[str]) -> list[SteeredUnit]:
    """The named units with their maxima: from the run of their dictionary, else measured over the corpus, else over `texts`.

    Raises `UsageError` for a unit that does not exist, or that is silent wherever it was measured.
    """
    if not units:
        raise UsageError("no unit: give --unit 641, or --unit neuron-12+")
    requested = [parse_unit(text, bench) for text in units]
    known = [_maximum_in_run(each) for each in requested]
    unknown = [each for each, value in zip(requested, known, strict=True) if value is None]
    measured = iter(_measured(bench, unknown, texts))
    steered = []
    for each, value in zip(requested, known, strict=True):
        maximum, source = (value, "in the run") if value is not None else next(measured)
        if not maximum > 0:
            raise UsageError(
                f"{each.unit.unit_id} is silent {source}, so its maximum is 0 and no factor changes anything: give --corpus with"
                " text on which it is active"
            )
        steered.append(SteeredUnit(each.studied, each.unit, each.factor, each.positions, maximum, source))
    return steered


def _maximum_in_run(requested: _Requested) -> float | None:
    if requested.studied.run is None:
        return None
    rows = pq.read_table(requested.studied.run / "units.parquet", columns=["unit_id", "max_activation"]).to_pylist()
    values = {row["unit_id"]: row["max_activation"] for row in rows}
    value = values.get(requested.unit.unit_id)
    return float(value) if value else None


def _measured(bench: Workbench, requested: Sequence[_Requested], texts: Sequence[str]) -> list[tuple[float, str]]:
    if not requested:
        return []
    by_corpus = bench.request.corpus is not None
    ids = "-".join(f"{each.studied.name}-{each.unit.unit_id}".replace("/", "_") for each in requested)

    def measure() -> dict[str, np.ndarray]:
        bench.progress.update("measuring maxima", 0, 0)
        values = []
        for each in requested:
            dictionary, unit = each.studied.dictionary, [each.unit]
            values.append(
                maxima_over_corpus(bench.subject, dictionary, unit, bench.corpus, CORPUS_TOKENS)[0]
                if by_corpus
                else maxima_over_texts(bench.subject, dictionary, unit, texts)[0]
            )
        return {"maxima": np.array(values, dtype=np.float32)}

    maxima = bench.folder.kept_arrays(f"maxima-{ids}"[:120], measure)["maxima"]
    where = f"in the corpus's first {CORPUS_TOKENS:,} tokens" if by_corpus else "in the prompts"
    return [(float(value), where) for value in maxima]
