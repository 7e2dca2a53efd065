"""The units of a steering command: which, how strongly, where, and what their maxima are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq

from autointerp.errors import UsageError
from autointerp.studies.unit_names import find_unit
from autointerp.studies.workbench import Studied, Workbench
from sae.analysis.clamp import check_steerable
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

    Raises `UsageError` for a unit that does not exist, or that is silent wherever it was measured, and `SubjectError` for a feature of a
    dictionary that writes to several layers.
    """
    if not units:
        raise UsageError("no unit: give --unit 641, or --unit neuron-12+")
    requested = [parse_unit(text, bench) for text in units]
    for each in requested:
        if each.unit.kind == "feature":
            check_steerable(each.studied.dictionary)
    steered = []
    for each in requested:
        known = _maximum_in_run(each)
        maximum, source = _measured(bench, each, texts) if known is None else (known, "in the run")
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


def _measured(bench: Workbench, requested: _Requested, texts: Sequence[str]) -> tuple[float, str]:
    """The unit's maximum over the corpus, which is kept, or over `texts` if there is no corpus, and where it was measured."""
    subject, dictionary, unit = bench.subject, requested.studied.dictionary, [requested.unit]
    if bench.request.corpus is None:
        return float(maxima_over_texts(subject, dictionary, unit, texts)[0]), "in the prompts"

    def measure() -> dict[str, np.ndarray]:
        bench.progress.update("measuring the maximum", 0, 0)
        return {"maximum": maxima_over_corpus(subject, dictionary, unit, bench.corpus, CORPUS_TOKENS)}

    name = f"maximum-{requested.studied.name}-{requested.unit.unit_id}".replace("/", "_")
    return float(
        bench.folder.kept_arrays(name, measure)["maximum"][0]
    ), f"in the corpus's first {CORPUS_TOKENS:,} tokens"
