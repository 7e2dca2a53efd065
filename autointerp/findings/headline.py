"""The headline: features compared with neurons, its bounds, and the reasons to withhold it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from autointerp.findings.evidence import Evidence
from autointerp.findings.results import Denominator, Headline, HeadlineBounds
from autointerp.json_values import finite
from autointerp.records import COMPARED, Arm, Outcome
from autointerp.spec.spec import Spec
from autointerp.stats import comparison
from autointerp.stats.comparison import Comparison
from autointerp.stats.estimates import MeanEstimate


def separates(separation: MeanEstimate) -> bool:
    """Whether hits are graded above misses beyond chance. Units that all separate alike have no interval, and count as certain."""
    mean, low = separation.mean, separation.ci_low
    if mean is None:
        return False
    return low > 0 if low is not None else mean > 0 and separation.n >= comparison.MIN_FOR_INTERVAL


def judge_reasons(evidence: Evidence | None) -> list[str]:
    """Reasons to withhold the headline because of the judge."""
    planted = evidence.planted if evidence else None
    if planted is None or planted.n_units < comparison.MIN_FOR_INTERVAL or planted.separates:
        return []
    if planted.separation.mean is None:
        return ["the judge left the planted units unscored, whose explanations are known to be true"]
    return [
        "the judge does not tell planted units' words from other text: their difference is"
        f" {planted.separation.mean:+.2f} over {planted.separation.n} units whose explanations are known to be true"
    ]


def withheld_reasons(
    denominator: Mapping[str, Denominator],
    unscored_share: float,
    main_shares: Mapping[str, float | None],
    spec: Spec,
) -> list[str]:
    """Reasons to withhold the headline because of missing scores; empty if there are none.

    `report.max_unscored_share` holds for all judgements together and for the main arm of each kind, on which the
    headline rests: controls or another kind that went well cannot dilute it. It holds for failed explanations too.
    """
    if not denominator["neuron"].sampled:
        return ["no neurons were sampled"]
    limit, needed = spec.report.max_unscored_share, spec.report.min_units
    reasons = []
    if unscored_share > limit:
        reasons.append(f"{unscored_share:.1%} of all judgements are unscored, more than {limit:.1%}")
    for kind in COMPARED:
        counts, share = denominator[kind], main_shares[kind]
        if counts.scored < needed:
            reasons.append(f"{counts.scored} of {counts.sampled} {kind}s have a score, fewer than {needed}")
        if share is not None and share > limit:
            reasons.append(f"{share:.1%} of the main judgements of {kind}s are unscored, more than {limit:.1%}")
        explainable = counts.scored + counts.unscored + counts.unexplained
        if counts.unexplained > limit * explainable:
            reasons.append(
                f"{counts.unexplained} of {explainable} active {kind}s have no explanation, more than {limit:.1%}"
            )
    return reasons


def headline_bounds(units: pd.DataFrame, judgements: pd.DataFrame, rubric_levels: Sequence[int]) -> HeadlineBounds:
    """The bin-uniform difference if everything unscored had gone against the features (`low`) or for them (`high`).

    Unscored judgements of the main arm, and active units that have no judgement at all (their explanation failed), take
    the lowest grade in one kind and the highest in the other. Dead and barely active units stay out: nothing was asked.
    """
    worst, best = min(rubric_levels), max(rubric_levels)
    main = judgements.loc[judgements["arm"] == Arm.MAIN.value]
    alive = units.loc[units["status"] == "alive"].set_index("unit_id")["kind"]

    def difference(grades: Mapping[str, int]) -> float | None:
        kinds = dict(zip(units["unit_id"], units["kind"], strict=True))
        grade = main["unit_id"].map(kinds).map(grades).astype("float64")
        score = main["score"].astype("float64").fillna(grade)
        means = comparison.unit_scores(main.assign(score=score, outcome=Outcome.SCORED.value), units)["mean_score"]
        return difference_of(means.fillna(alive.map(grades).astype("float64")), means.index.to_series().map(kinds))

    return HeadlineBounds(
        low=difference({"feature": worst, "neuron": best}), high=difference({"feature": best, "neuron": worst})
    )


def headline_of(figures: Comparison, denominator: Mapping[str, Denominator], reasons: Sequence[str]) -> Headline:
    """The headline from the bin-uniform comparison; with reasons to withhold it, only its counts are kept."""
    values = figures.model_dump()
    if reasons:
        values = {name: value if name.startswith("n_") else None for name, value in values.items()}
        values["withheld"] = "; ".join(reasons)
    return Headline(
        **values,
        weighting="bin_uniform",
        n_features=denominator["feature"].sampled,
        n_neurons=denominator["neuron"].sampled,
    )


def difference_of(means: pd.Series[float], kinds: pd.Series[str]) -> float | None:
    """Mean of the features minus mean of the neurons."""
    by_kind = means.groupby(kinds.to_numpy()).mean()
    return finite(by_kind.get("feature", math.nan) - by_kind.get("neuron", math.nan))
