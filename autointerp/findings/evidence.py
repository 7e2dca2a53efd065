"""The evidence on the judge in `summary.json`: planted units, repeats, random units, a second judge, people."""

from __future__ import annotations

from autointerp.stats.agreement import Agreement, Panel, Repeats
from autointerp.stats.estimates import Difference, MeanEstimate, Part
from autointerp.stats.prediction_powered import CorrectedHeadline


class PlantedItems(MeanEstimate):
    """The judge on one kind of window of the planted units."""

    n_items: int
    given: dict[str, int]
    """Items by the grade that the judge gave."""


class PlantedUnits(Part):
    """The judge on units whose explanations are known to be true."""

    n_units: int
    hits: PlantedItems
    """The unit's words, marked."""
    near: PlantedItems
    """A word beside them, marked."""
    misses: PlantedItems
    """Texts without them."""
    right: float | None
    """Share of hits graded in the upper half of the scale and of misses in the lower half."""
    separation: MeanEstimate
    """Hits minus misses within a unit."""
    separates: bool
    """Whether the judge grades hits above misses, by the interval of `separation`."""


class Normalised(Part):
    """The headline between floor (another unit's explanation) and ceiling (a planted unit's true one)."""

    floor: float | None
    ceiling: float | None
    features: float | None
    neurons: float | None
    difference: float | None
    ci_low: float | None
    ci_high: float | None


class RandomUnits(MeanEstimate):
    """Mean grade of units of random weights."""

    n_units: int
    n_alive: int
    n_explained: int
    dead: float
    """Share that never fires."""
    density: float | None
    """Median density of the alive ones."""
    features_minus: Difference
    """The dictionary's features minus these."""


class SecondJudge(Part):
    """A second judge on a sample of the items."""

    judge: str
    n: int
    agreement: Agreement
    corrected: CorrectedHeadline


class People(Part):
    """People's grades of a sample of the items."""

    raters: list[str]
    n: int
    agreement: list[Agreement]
    """The judge with each rater."""
    together: Panel | None
    """The raters with each other, if there are several."""
    corrected: CorrectedHeadline


class Evidence(Part):
    """All evidence on the judge. A part that was not measured is None."""

    planted: PlantedUnits | None = None
    normalised: Normalised | None = None
    repeats: Repeats | None = None
    random: dict[str, RandomUnits] | None = None
    """By kind of random unit."""
    second: SecondJudge | None = None
    people: People | None = None
