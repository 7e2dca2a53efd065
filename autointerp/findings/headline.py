"""The headline: features compared with neurons, its bounds, and the reasons for withholding it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from autointerp.findings.evidence import Evidence
from autointerp.findings.judge_checks import separation_failure
from autointerp.findings.results import Denominator, Headline, HeadlineBounds
from autointerp.formatting import percent
from autointerp.json_values import finite
from autointerp.records import COMPARED, Arm, Outcome
from autointerp.spec.spec import Spec
from autointerp.stats import comparison
from autointerp.stats.comparison import Comparison


def judge_reasons(evidence: Evidence | None) -> list[str]:
    """Reasons for withholding the headline that lie in the judge."""
    failure = separation_failure(evidence.planted if evidence else None)
    return [f"the judge {failure}"] if failure else []


def withheld_reasons(
    denominator: Mapping[str, Denominator],
    unscored_share: float,
    main_shares: Mapping[str, float | None],
    spec: Spec,
) -> list[str]:
    """Reasons for withholding the headline that lie in missing scores.

    `report.max_unscored_share` applies to all judgements together, to the main arm of each kind, on which the headline rests (so that
    controls or the other kind cannot dilute it), and to failed explanations.
    """
    if not denominator["neuron"].sampled:
        return ["no neurons were sampled"]
    limit, needed = spec.report.max_unscored_share, spec.report.min_units
    more = f"more than {percent(limit, 1)}"
    reasons = []
    if unscored_share > limit:
        reasons.append(f"{percent(unscored_share, 1)} of all judgements are unscored, {more}")
    for kind in COMPARED:
        counts, share = denominator[kind], main_shares[kind]
        if counts.scored < needed:
            reasons.append(f"{counts.scored} of {counts.sampled} {kind}s have a score, fewer than {needed}")
        if share is not None and share > limit:
            reasons.append(f"{percent(share, 1)} of the main judgements of {kind}s are unscored, {more}")
        explainable = counts.scored + counts.unscored + counts.unexplained
        if counts.unexplained > limit * explainable:
            reasons.append(f"{counts.unexplained} of {explainable} active {kind}s have no explanation, {more}")
    return reasons


def headline_bounds(units: pd.DataFrame, judgements: pd.DataFrame, rubric_levels: Sequence[int]) -> HeadlineBounds:
    """The bin-uniform difference if everything unscored had gone against the features (`low`) or for them (`high`).

    Unscored judgements of the main arm, and active units without any judgement (because their explanation failed), get the lowest
    grade in one kind and the highest in the other. Dead and barely active units are left out, because nothing was asked about them.
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
    """The headline from the bin-uniform comparison. If there are reasons for withholding it, only its counts are kept."""
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
    """Mean of the features minus mean of the neurons; None if either kind has no value."""
    by_kind = means.groupby(kinds.to_numpy()).mean()
    return finite(by_kind.get("feature", math.nan) - by_kind.get("neuron", math.nan))
