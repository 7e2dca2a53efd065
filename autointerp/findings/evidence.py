"""The evidence on the judge in `summary.json`: planted units, repeats, random units, a second judge, people."""

from __future__ import annotations

from autointerp.stats.agreement import Agreement, Panel, Repeats
from autointerp.stats.estimates import Difference, MeanEstimate, Part
from autointerp.stats.prediction_powered import CorrectedHeadline


class PlantedItems(MeanEstimate):
    """The judge on one kind of window of the planted units."""

    n_items: int
    """Items graded."""
    given: dict[str, int]
    """Items by the grade that the judge gave."""


class PlantedUnits(Part):
    """The judge on units whose explanations are known to be true."""

    n_units: int
    """Planted units with a grade."""
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
    """Mean grade with another unit's explanation."""
    ceiling: float | None
    """Mean grade of planted units with their true explanation."""
    features: float | None
    """Features' mean as a share of the way from floor to ceiling."""
    neurons: float | None
    """Neurons' mean, likewise."""
    difference: float | None
    """Features minus neurons, likewise."""
    ci_low: float | None
    """Lower end of the difference's interval."""
    ci_high: float | None
    """Upper end of the difference's interval."""


class RandomUnits(MeanEstimate):
    """Mean grade of units of random weights."""

    n_units: int
    """Units sampled."""
    n_alive: int
    """Units that fire often enough to be explained."""
    n_explained: int
    """Units that have an explanation."""
    dead: float
    """Share that never fires."""
    density: float | None
    """Median density of the alive ones."""
    features_minus: Difference
    """The dictionary's features minus these."""


class SecondJudge(Part):
    """A second judge on a sample of the items."""

    judge: str
    """The second judge, `provider/model`."""
    n: int
    """Items that both judges graded."""
    agreement: Agreement
    """Agreement of the run's judge (`a`) with the second (`b`)."""
    corrected: CorrectedHeadline
    """The headline by the second judge's grades, with the first judge's to narrow it."""


class People(Part):
    """People's grades of a sample of the items."""

    raters: list[str]
    """The people's names."""
    n: int
    """Items graded by at least one of them."""
    agreement: list[Agreement]
    """The judge with each rater."""
    together: Panel | None
    """The raters with each other, if there are several."""
    corrected: CorrectedHeadline
    """The headline by their grades, with the judge's to narrow it."""


class Evidence(Part):
    """All evidence on the judge. A part that was not measured is None."""

    planted: PlantedUnits | None = None
    """Units whose true explanation is known."""
    normalised: Normalised | None = None
    """The headline between floor and ceiling."""
    repeats: Repeats | None = None
    """The judge's agreement with itself."""
    random: dict[str, RandomUnits] | None = None
    """By kind of random unit."""
    second: SecondJudge | None = None
    """A second judge's grades of a sample."""
    people: People | None = None
    """People's grades of a sample."""
