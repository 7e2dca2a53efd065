"""The evidence on the judge in `summary.json`: planted units, repeats, random units, a second judge and human labels."""

from __future__ import annotations

from pydantic import Field

from autointerp.stats.agreement.coefficients import Agreement, Panel, Repeats
from autointerp.stats.estimates import Difference, MeanEstimate, Part
from autointerp.stats.prediction_powered import CorrectedHeadline


class PlantedItems(MeanEstimate):
    """The judge's grades of planted units under one of three conditions."""

    n_items: int
    """Number of items graded."""
    given: dict[str, int]
    """Number of items by the grade that the judge gave."""


class PlantedUnits(Part):
    """The judge's grades of planted units: synthetic units that respond to known words, so that their true explanation is known."""

    n_units: int
    """Number of planted units with a grade."""
    why: str | None = None
    """Why fewer units were planted than the spec asks for (`controls.planted`); null if as many were."""
    hits: PlantedItems
    """One of the unit's words is marked."""
    near: PlantedItems
    """A word beside one of the unit's words is marked."""
    misses: PlantedItems
    """The text contains none of the unit's words."""
    right: float | None
    """Share of correct grades: hits in the upper half of the scale and misses in the lower half."""
    separation: MeanEstimate
    """Mean grade of hits minus mean grade of misses, within a unit."""
    separates: bool
    """Whether the judge grades hits above misses, by the interval of `separation`."""


class Normalised(Part):
    """The headline as a share of the way from floor to ceiling, so that strict and lenient judges can be compared."""

    floor: float | None
    """Mean grade of explanations of other units; null if there are too few units."""
    ceiling: float | None
    """Mean grade of the true explanations of planted units; null if there are too few units."""
    features: float | None
    """Features' mean grade: 0 at the floor, 1 at the ceiling; null if the ceiling is not above the floor."""
    neurons: float | None
    """Neurons' mean grade on the same scale."""
    difference: float | None
    """Features minus neurons on the same scale."""
    ci_low: float | None
    """Lower end of the difference's interval; null if it cannot be computed."""
    ci_high: float | None
    """Upper end of the difference's interval; null if it cannot be computed."""


class RandomUnits(MeanEstimate):
    """Mean grade of units of random weights or of directions, a control for what training adds."""

    n_units: int
    """Number of units sampled."""
    n_alive: int
    """Number of units that are active often enough to be explained."""
    n_explained: int
    """Number of units with an explanation."""
    dead: float | None
    """Share of units that are never active; null if no unit could be made."""
    density: float | None
    """Median density of the units that are active often enough."""
    features_minus: Difference
    """Mean grade of the dictionary's features minus that of these units."""


def no_random_units(why: str) -> RandomUnits:
    """The figures of a kind of which no unit could be made."""
    against = Difference(difference=None, ci_low=None, ci_high=None, why=why)
    return RandomUnits(
        mean=None, ci_low=None, ci_high=None, n=0, why=why, n_units=0, n_alive=0, n_explained=0, dead=None, density=None,
        features_minus=against,
    )  # fmt: skip


class SecondJudge(Part):
    """A second judge's grades of a sample of the items."""

    judge: str
    """The second judge, as `provider/model`."""
    n: int
    """Number of items that both judges graded."""
    agreement: Agreement
    """Agreement of the run's judge (`a`) with the second judge (`b`)."""
    corrected: CorrectedHeadline
    """The headline estimated from the second judge's grades; the first judge's grades narrow its interval."""


class PassedOver(Part):
    """The items of the main arm that a rater skipped."""

    rater: str
    """Name of the rater."""
    n: int
    """Number of items skipped."""
    n_seen: int
    """Number of items graded or skipped."""
    shares: dict[str, float]
    """Share skipped by stratum, that is by kind and the judge's grade."""
    uneven: bool
    """Whether the shares differ beyond chance (p < 0.05, a permutation test of chi-squared)."""


class People(Part):
    """People's grades of a sample of the items."""

    raters: list[str]
    """Names of the raters."""
    n: int
    """Number of items graded by at least one of them."""
    agreement: list[Agreement]
    """Agreement of the run's judge (`a`) with each rater (`b`)."""
    together: Panel | None
    """Agreement of the raters with each other; null if there is only one."""
    passed_over: list[PassedOver] = Field(default_factory=list)
    """Raters who skipped items. What they skip is taken to be like what they grade, with the same judge's grade."""
    corrected: CorrectedHeadline
    """The headline estimated from people's grades; the judge's grades narrow its interval."""


class Evidence(Part):
    """All evidence on the judge. A part that was not measured is null."""

    planted: PlantedUnits | None = None
    """Grades of units whose true explanation is known."""
    normalised: Normalised | None = None
    """The headline between floor and ceiling."""
    repeats: Repeats | None = None
    """The judge's agreement with itself."""
    random: dict[str, RandomUnits] | None = None
    """Grades of units of random weights and of directions that no dictionary learnt, by kind: `random_dictionary`, `random_subject`,
    `basis_direction`, `random_direction`."""
    second: SecondJudge | None = None
    """A second judge's grades of a sample."""
    people: People | None = None
    """People's grades of a sample."""
