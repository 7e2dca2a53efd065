"""Both sides of the sampled units in `summary.json`: what makes them fire, and what they make the subject say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field

from autointerp.records import COMPARED
from autointerp.stats import means
from autointerp.stats.comparison import mean_estimate
from autointerp.stats.estimates import MeanEstimate, Part
from autointerp.stats.means import Scale

CLASSES = ("input", "output", "both", "neither")
_SHARES: Scale = (0.0, 1.0)
_DIFFERENCES = means.of_differences(_SHARES)


class OutputPrecision(Part):
    """Precision at 10 of the tokens that units are said to promote: the share of them among the 10 tokens that rise most."""

    named: MeanEstimate
    """Of the tokens named for the unit."""
    random: MeanEstimate
    """Of those named in the same way for random directions of the same norm."""
    difference: MeanEstimate
    """The unit's own minus that of its random directions."""


class UnitSides(Part):
    """The two sides of the units of one kind, each tested without a judge."""

    n: int
    """Number of units with a class."""
    not_measured: int
    """Number of sampled units without one, because they are dead or barely active, or a side is not defined for them."""
    input: int
    """Units whose firing can be told from the words that the subject reads, and that promote their tokens no more than random directions."""
    output: int
    """Units that promote their tokens more than random directions do, and whose firing cannot be told from the words."""
    both: int
    """Units with both sides."""
    neither: int
    """Units with neither side."""
    told: MeanEstimate
    """Share of pairs of an active and a silent window that a rule over the subject's input embeddings ranks right; 0.5 is chance."""
    rise: MeanEstimate
    """Rise of the tokens that a unit makes the subject say, in logits, in contexts that did not name them."""
    random_rise: MeanEstimate
    """The same for random directions of the same norm."""
    by_clamp: OutputPrecision
    """Of the tokens named by clamping the unit in half of the contexts, against those that rise most in the other half."""
    by_decoder: OutputPrecision
    """Of the tokens named by the unit's direction alone, against those that rise most when it is clamped."""
    grades: dict[str, MeanEstimate] = Field(default_factory=dict)
    """Mean grade of the units of each class."""


def of_units(
    units: pd.DataFrame, grades: pd.Series[Any], intervals: Mapping[str, Any], scale: Scale
) -> dict[str, UnitSides] | None:
    """The sides by kind of unit, with the units' mean `grades` by unit_id; None if they were not measured."""
    if "side" not in units:
        return None
    return {
        kind: _of_kind(chosen, grades.loc[chosen["unit_id"]].to_numpy(), intervals, scale)
        for kind in COMPARED
        if len(chosen := units.loc[units["kind"] == kind])
    }


def _of_kind(units: pd.DataFrame, grades: Any, intervals: Mapping[str, Any], scale: Scale) -> UnitSides:
    measured = units["side"].notna()

    def mean(column: str, within: Scale | None = None) -> MeanEstimate:
        return mean_estimate(units[column].to_numpy(dtype=float), scale=within, **intervals)

    def precision(named: str, random: str) -> OutputPrecision:
        own, null = (units[column].to_numpy(dtype=float) for column in (named, random))
        difference = mean_estimate(own - null, scale=_DIFFERENCES, **intervals)
        return OutputPrecision(named=mean(named, _SHARES), random=mean(random, _SHARES), difference=difference)

    return UnitSides(
        n=int(measured.sum()),
        not_measured=int((~measured).sum()),
        **{side: int((units["side"] == side).sum()) for side in CLASSES},
        told=mean("input_told", _SHARES),
        rise=mean("output_rise"),
        random_rise=mean("output_random_rise"),
        by_clamp=precision("output_precision", "output_random_precision"),
        by_decoder=precision("decoder_precision", "decoder_random_precision"),
        grades={
            side: mean_estimate(
                np.asarray(grades, dtype=float)[(units["side"] == side).to_numpy()], scale=scale, **intervals
            )
            for side in CLASSES
        },
    )
