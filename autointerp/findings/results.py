"""The results of a run in `summary.json`: headline, bins, control arms, other evaluations and explainer aids."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from autointerp.stats.comparison import Comparison
from autointerp.stats.estimates import Difference, MeanEstimate, PairedDifference, Part


class Headline(Comparison):
    """The main result: features compared with neurons, in the reading that `report.headline` in the spec names.

    Bin-uniform means are taken over the units that have a bin first, and over bins afterwards, so that the bins that units lack make no
    difference. Bins in which too few units of a kind have a grade are left out: see `bins_left_out`. If the headline is withheld, its
    statistics are null; `weightings` and `equal_rarity` keep them.
    """

    withheld: str | None = None
    """Why the headline is withheld; absent if it is not."""
    weighting: Literal["bin_uniform", "frequency", "equal_rarity"] = "bin_uniform"
    """The reading: all bins of (0, max] equally, bins by their events, or levels of rarity equally."""
    bins_compared: list[int] = Field(default_factory=list)
    """The bins on which a bin-uniform headline rests."""
    bins_left_out: list[int] = Field(default_factory=list)
    """The bins in which too few features or neurons have a grade to be compared."""
    n_features: int
    """Number of features sampled."""
    n_neurons: int
    """Number of neurons sampled."""


class BinDifference(Difference):
    """Features minus neurons in one activation bin, over the units with a grade in it."""

    bin: int
    """Number of the bin, from 1 for the weakest activations."""
    n_features: int
    """Number of features with a grade in the bin."""
    n_neurons: int
    """Number of neurons with a grade in the bin."""
    compared: bool
    """Whether the headline includes the bin."""


class Weightings(Part):
    """Features compared with neurons under several weightings of the activation bins."""

    bin_uniform: Comparison
    """All bins weighted equally, as in the headline."""
    frequency: Comparison
    """Bins weighted by their number of events in the corpus."""
    top_bin: Comparison | None = None
    """Only the compared bin with the strongest activations."""
    bins: list[BinDifference] = Field(default_factory=list)
    """The difference in each bin."""


class RarityLevel(Difference):
    """Features minus neurons in one level of rarity: events that are equally far out among the events of their units."""

    level: int
    """Number of the level, from 1 for the rarest activations."""
    low: float
    """The level is without the strongest activations of a unit, as a share of all counted tokens."""
    high: float
    """Its end: 0.001 for a unit's strongest 1 in 1,000 tokens, without those of the levels before."""
    features: MeanEstimate
    """Mean grade of the features that are active often enough to fill the level."""
    neurons: MeanEstimate
    """Mean grade of the neurons that are active often enough to fill the level."""
    n_features: int
    """Number of features that fill the level and have a grade in it."""
    n_neurons: int
    """Number of neurons that fill the level and have a grade in it."""
    n: int
    """Number of judged exemplars with a grade in the level."""
    compared: bool
    """Whether the difference at equal rarity includes the level; `why` says why not."""


class EqualRarity(Comparison):
    """Features compared with neurons where both are equally rare, all levels of rarity weighted equally.

    A level holds the strongest of a unit's activations up to a share of all tokens, without those of the levels before. Each exemplar
    stands for 1 / inclusion probability events of its level. A unit that is not active often enough to fill a level is not in it.
    """

    levels: list[RarityLevel]
    """The difference in each level, the rarest first."""


class Bin(Part):
    """One activation bin of one kind of unit, in the main arm.

    Besides the fields below, it has `share_G` (share of judgements, units weighted equally; null if nothing is scored) and `count_G`
    (number of judgements) for each grade G of the rubric.
    """

    kind: str
    """`feature` or `neuron`."""
    bin: int
    """Number of the bin, from 1 for the weakest activations."""
    low: float
    """Lower edge, as a share of the unit's maximum activation."""
    high: float
    """Upper edge, as a share of the unit's maximum activation."""
    n: int
    """Number of judgements with a grade."""
    n_unscored: int
    """Number of judgements without a grade."""
    n_units: int
    """Number of units with a grade in the bin."""
    events: int
    """Number of counted tokens in the bin, over all sampled units."""
    mean: float | None
    """Mean grade, units weighted equally; null if nothing is scored."""
    ci_low: float | None
    """Lower end of the interval; null if it cannot be computed."""
    ci_high: float | None
    """Upper end of the interval; null if it cannot be computed."""
    why: str | None = None
    """Why the mean or its interval is missing; null if both are there."""
    freedom: float | None = None
    """Degrees of freedom of the interval, which measure how many units inform it; null without an interval."""

    def share(self, grade: int) -> float | None:
        """Share of a grade, units weighted equally; None if nothing is scored."""
        return (self.model_extra or {}).get(f"share_{grade}")

    def count(self, grade: int) -> int:
        """Number of judgements with a grade."""
        return int((self.model_extra or {}).get(f"count_{grade}", 0))


class HeadlineBounds(Part):
    """Bounds of the headline's difference: what it would be if everything unscored had gone to one side.

    Unscored are judgements without a grade and active units without an explanation.
    """

    low: float | None
    """The difference with the lowest grade for everything unscored of features and the highest for that of neurons."""
    high: float | None
    """The difference with the highest grade for everything unscored of features and the lowest for that of neurons."""


class Denominator(Part):
    """The sampled units of one kind. Every unit is counted in exactly one class: dead, barely active, unexplained, unscored or scored."""

    sampled: int
    """Number of units sampled."""
    dead: int
    """Never active on the corpus."""
    barely_active: int
    """Active too rarely to be judged."""
    unexplained: int
    """Active, but without an explanation."""
    unscored: int
    """Explained, but without a grade."""
    scored: int
    """With a grade."""


class Densities(Part):
    """How often the scored units are active. Density is the share of counted tokens at which a unit is active."""

    feature: float | None
    """Median density of the scored features."""
    neuron: float | None
    """Median density of the scored neurons."""
    ratio: float | None
    """Features' median divided by neurons' median."""


class ControlMean(MeanEstimate):
    """Mean grade in one arm of the experiment."""

    n: int
    """Number of judgements with a grade."""
    n_unscored: int
    """Number of judgements without a grade."""
    n_units: int
    """Number of units with a grade."""


class ControlArm(Part):
    """Mean grades in one arm of the experiment."""

    feature: ControlMean
    """Of features."""
    neuron: ControlMean
    """Of neurons."""
    all: ControlMean
    """Of features and neurons together."""


class Controls(Part):
    """The main arm and the control arms, which differ in what is judged."""

    main: ControlArm
    """The unit's own explanation, where the unit is active."""
    shuffled: ControlArm
    """Another unit's explanation on the same exemplars: the floor."""
    base_rate: ControlArm
    """The unit's own explanation in windows in which the unit is silent."""
    neighbour: ControlArm | None = None
    """The unit's own explanation in windows in which one of its nearest neighbours is strongly active and the unit silent at the mark."""
    main_minus_shuffled: PairedDifference
    """Mean grade of the main arm minus that of the shuffled arm."""
    main_minus_base_rate: PairedDifference
    """Mean grade of the main arm minus that of the base rate."""
    main_minus_neighbour: PairedDifference | None = None
    """Mean grade of the main arm minus that of the neighbours' windows."""


class Told(Part):
    """How far explanations tell units of one kind from their nearest neighbours: the mean of the figure `told` of the evaluation `distinction` over units. In each question the windows that the judge names share the credit, and so do units with the same explanation."""

    value: float | None
    """The mean; null if no unit has the figure."""
    ci_low: float | None
    """Lower end of the interval; null if it cannot be computed."""
    ci_high: float | None
    """Upper end of the interval; null if it cannot be computed."""
    why: str | None = None
    """Why the value or its interval is missing; null if both are there."""
    chance: float
    """Expected value for a judge that guesses, if no two explanations say the same."""
    n_units: int
    """Number of units with the figure."""
    n_undefined: int
    """Number of explained units without it: their questions were left unscored, or they are silent in too few of their neighbours' windows."""


class Distinction(Part):
    """Whether explanations pick their units out of their nearest neighbours (evaluation `distinction`)."""

    feature: Told
    """Of features."""
    neuron: Told
    """Of neurons."""


class ScorerFigure(Difference):
    """One metric of another evaluation: the mean of each kind of unit, and the difference of features and neurons."""

    figure: str
    """Name of the metric."""
    meaning: str
    """Definition of the metric in words."""
    undefined: int
    """Number of units for which the metric is undefined."""
    undefined_why: dict[str, int] = Field(default_factory=dict)
    """These units by the reason; empty in summaries of early versions."""
    feature: MeanEstimate
    """Mean of the features."""
    neuron: MeanEstimate
    """Mean of the neurons."""
    planted: MeanEstimate
    """Mean of the planted units."""
    p_superior: float | None
    """P(feature > neuron): the share of feature-neuron pairs in which the feature has the higher value, ties counting half."""


class ScorerResult(Part):
    """The result of another evaluation than the rubric."""

    scorer: str
    """Name of the evaluation."""
    source: str
    """The paper that it follows."""
    needs_explanation: bool
    """Whether it evaluates an explanation; if not, it evaluates the unit itself."""
    chance: float | None
    """Expected value of the first metric if answers are guessed; null if that is not defined."""
    n: int
    """Number of usable answers."""
    n_unscored: int
    """Number of answers that could not be used."""
    unscored: dict[str, int]
    """Number of unusable answers by reason."""
    figures: list[ScorerFigure]
    """Its metrics, the main one first."""


class Giveaway(Part):
    """How well the two classes of items that a judge tells apart are told apart without reading: a rule knows the length of each text
    and the place of its mark, and nothing else. 0.5 is chance; more is a trace of the sampling that a judge may follow too."""

    comparison: str
    """An arm that is compared with the main arm (`base_rate`, `planted misses`, `planted near`), or the name of an evaluation."""
    balanced_accuracy: MeanEstimate
    """Balanced accuracy, cross-validated over units: the mean over units with items of both classes."""


class AidEffect(PairedDifference):
    """Mean grade of explanations made with an aid minus that of explanations made without it, on the same exemplars."""

    with_aid: float | None = Field(alias="with", default=None)
    """Mean grade with the aid."""
    without: float | None = None
    """Mean grade without the aid."""


class AidEffects(Part):
    """The effect of one aid that the explainer was given."""

    all: AidEffect
    """On features and neurons together."""
    feature: AidEffect
    """On features."""
    neuron: AidEffect
    """On neurons."""
    n_unscored: int
    """Number of judgements without a grade under the explanations made with the aid."""
