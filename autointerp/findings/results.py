"""The results of a run in `summary.json`: headline, bins, control arms, other evaluations."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from autointerp.stats.comparison import Comparison
from autointerp.stats.estimates import Difference, MeanEstimate, PairedDifference, Part


class Headline(Comparison):
    """The main result, every bin weighted alike. Its figures are None if it is withheld; `weightings` keeps them."""

    withheld: str | None = None
    """Why the headline is withheld; absent if it is not."""
    weighting: Literal["bin_uniform"] = "bin_uniform"
    """Every bin weighted alike."""
    n_features: int
    """Features sampled."""
    n_neurons: int
    """Neurons sampled."""


class Weightings(Part):
    """The comparison under both weightings of the bins."""

    bin_uniform: Comparison
    """Every bin alike."""
    frequency: Comparison
    """Bins by their events in the corpus."""


class Bin(Part):
    """One activation bin of one kind, main arm. `share_G` and `count_G` hold share and number of each grade G of the rubric."""

    kind: str
    """`feature` or `neuron`."""
    bin: int
    """Number of the bin, from 1."""
    low: float
    """Lower edge, as a share of the unit's maximum."""
    high: float
    """Upper edge."""
    n: int
    """Judgements with a grade."""
    n_unscored: int
    """Judgements without one."""
    n_units: int
    """Units with a grade in the bin."""
    events: int
    """Counted tokens in the bin, over all sampled units."""
    mean: float | None
    """Mean grade, units weighted alike."""
    ci_low: float | None
    """Lower end of its interval; null if it cannot be given."""
    ci_high: float | None
    """Upper end of its interval."""

    def share(self, grade: int) -> float | None:
        """Share of a grade, units weighted alike; None where nothing is scored."""
        return (self.model_extra or {}).get(f"share_{grade}")

    def count(self, grade: int) -> int:
        """Judgements of a grade."""
        return int((self.model_extra or {}).get(f"count_{grade}", 0))


class HeadlineBounds(Part):
    """The difference if everything unscored had gone against the features (`low`) or for them (`high`)."""

    low: float | None
    """All against the features."""
    high: float | None
    """All for the features."""


class Denominator(Part):
    """The sampled units of a kind, each in exactly one of the classes."""

    sampled: int
    """Units sampled."""
    dead: int
    """Never active."""
    barely_active: int
    """Active too rarely to be judged."""
    unexplained: int
    """Without an explanation."""
    unscored: int
    """Explained, without a grade."""
    scored: int
    """With a grade."""


class Densities(Part):
    """Median density of the scored units, and the ratio of features to neurons."""

    feature: float | None
    """Median share of tokens at which a scored feature is active."""
    neuron: float | None
    """The same for neurons."""
    ratio: float | None
    """Features over neurons."""


class ControlMean(MeanEstimate):
    """Mean grade of one arm."""

    n: int
    """Judgements with a grade."""
    n_unscored: int
    """Judgements without one."""
    n_units: int
    """Units with a grade."""


class ControlArm(Part):
    """Mean grades of one arm by kind."""

    feature: ControlMean
    """Features."""
    neuron: ControlMean
    """Neurons."""
    all: ControlMean
    """Both."""


class Controls(Part):
    """The main arm beside the control arms."""

    main: ControlArm
    """The unit's own explanation."""
    shuffled: ControlArm
    """Another unit's explanation."""
    base_rate: ControlArm
    """Windows in which the unit is silent."""
    main_minus_shuffled: PairedDifference
    """Within a unit."""
    main_minus_base_rate: PairedDifference
    """Within a unit."""


class ScorerFigure(Difference):
    """One figure of another evaluation: each kind's mean, and features minus neurons."""

    figure: str
    """Name of the figure."""
    meaning: str
    """Its meaning, in words."""
    undefined: int
    """Units for which the figure is undefined."""
    feature: MeanEstimate
    """Features."""
    neuron: MeanEstimate
    """Neurons."""
    planted: MeanEstimate
    """Planted units."""
    p_superior: float | None
    """P(feature > neuron), ties half."""


class ScorerResult(Part):
    """The result of another evaluation."""

    scorer: str
    """Name of the evaluation."""
    source: str
    """The paper that it follows."""
    needs_explanation: bool
    """Whether it evaluates an explanation."""
    chance: float | None
    """Its value by chance."""
    n: int
    """Answers that could be used."""
    n_unscored: int
    """Answers that could not."""
    unscored: dict[str, int]
    """Those, by reason."""
    figures: list[ScorerFigure]
    """Its figures."""


class AidEffect(PairedDifference):
    """Mean grade with an aid minus without it, on the same exemplars."""

    with_aid: float | None = Field(alias="with", default=None)
    """Mean grade with the aid."""
    without: float | None = None
    """Mean grade without it."""


class AidEffects(Part):
    """The effect of one aid to the explainer."""

    all: AidEffect
    """Features and neurons."""
    feature: AidEffect
    """Features."""
    neuron: AidEffect
    """Neurons."""
    n_unscored: int
    """Judgements without a grade."""
