"""The headline: features compared with neurons, its bounds, and the reasons for withholding it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from autointerp.findings import sanity_checks
from autointerp.findings.judge_checks import separation_failure
from autointerp.findings.readings import Reading
from autointerp.findings.results import Denominator, Headline, HeadlineBounds
from autointerp.findings.sanity_checks import Measured
from autointerp.formatting import percent
from autointerp.records import COMPARED, Arm, Outcome
from autointerp.spec.spec import Spec
from autointerp.stats import bin_uniform
from autointerp.stats.bin_uniform import Grades
from autointerp.stats.comparison import Comparison

ALONE = "no neurons were sampled, so the features are not compared"
"""Why a headline has no difference if features were evaluated alone."""


def judge_reasons(measured: Measured) -> list[str]:
    """Reasons for withholding the headline that lie in the judge or the explanations."""
    failure = separation_failure(measured.evidence.planted if measured.evidence else None)
    return [*([f"the judge {failure}"] if failure else []), *sanity_checks.withheld_reasons(measured)]


def withheld_reasons(
    denominator: Mapping[str, Denominator],
    grades: Grades,
    unscored_share: float,
    main_shares: Mapping[str, float | None],
    spec: Spec,
) -> list[str]:
    """Reasons for withholding the headline that lie in missing scores.

    `report.max_unscored_share` applies to all judgements together, to the main arm of each kind, on which the headline rests (so that
    controls or the other kind cannot dilute it), and to failed explanations. `grades` are those that the headline compares. Without
    neurons the features are evaluated alone, and nothing is withheld for want of a comparison.
    """
    limit, needed = spec.report.max_unscored_share, spec.report.min_units
    more = f"more than {percent(limit, 1)}"
    reasons = []
    if unscored_share > limit:
        reasons.append(f"{percent(unscored_share, 1)} of all judgements are unscored, {more}")
    kinds = [kind for kind in COMPARED if denominator[kind].sampled or kind == "feature"]
    for kind in kinds:
        counts, share = denominator[kind], main_shares[kind]
        if counts.scored < needed:
            reasons.append(f"{counts.scored} of {counts.sampled} {kind}s have a score, fewer than {needed}")
        if share is not None and share > limit:
            reasons.append(f"{percent(share, 1)} of the main judgements of {kind}s are unscored, {more}")
        explainable = counts.scored + counts.unscored + counts.unexplained
        if counts.unexplained > limit * explainable:
            reasons.append(f"{counts.unexplained} of {explainable} active {kind}s have no explanation, {more}")
    if not reasons and not grades.compared and "neuron" in kinds:
        part = "level of rarity" if spec.report.headline == "equal_rarity" else "activation bin"
        reasons.append(f"no {part} has a grade in enough features and neurons")
    return reasons


def headline_bounds(
    units: pd.DataFrame, judgements: pd.DataFrame, rubric_levels: Sequence[int], grades: Grades, read: Reading
) -> HeadlineBounds:
    """The headline's difference if everything unscored had gone against the features (`low`) or for them (`high`).

    Unscored judgements of the main arm, and active units without any judgement (because their explanation failed), get the lowest
    grade in one kind and the highest in the other. Dead and barely active units are left out, because nothing was asked about them.
    `grades` are the headline's, as `read` takes them from judgements: the same bins or levels are compared.
    """
    worst, best = min(rubric_levels), max(rubric_levels)
    main = judgements.loc[judgements["arm"] == Arm.MAIN.value]
    graded = [unit_id for table in grades.table.values() for unit_id in table.index]
    ungraded = units.loc[(units["status"] == "alive") & ~units["unit_id"].isin(graded)]
    main = main.loc[main["unit_id"].isin(graded)]

    def difference(given: Mapping[str, int]) -> float | None:
        kinds = dict(zip(units["unit_id"], units["kind"], strict=True))
        score = main["score"].astype("float64").fillna(main["unit_id"].map(kinds).map(given).astype("float64"))
        filled = read(main.assign(score=score, outcome=Outcome.SCORED.value))
        return difference_with(filled.only(grades.compared), ungraded, given)

    return HeadlineBounds(
        low=difference({"feature": worst, "neuron": best}), high=difference({"feature": best, "neuron": worst})
    )


def headline_of(
    figures: Comparison, weighting: str, grades: Grades, denominator: Mapping[str, Denominator], reasons: Sequence[str]
) -> Headline:
    """The headline from the comparison of `grades` in one reading. If there are reasons for withholding it, only its counts are kept."""
    values = figures.model_dump(include=set(Comparison.model_fields))
    of_bins = weighting == "bin_uniform"
    if not denominator["neuron"].sampled:
        values["why"] = ALONE
    if reasons:
        values = {name: value if name.startswith("n_") else None for name, value in values.items()}
        values["withheld"] = "; ".join(reasons)
    return Headline(
        **values,
        weighting=weighting,
        bins_compared=list(grades.compared) if of_bins else [],
        bins_left_out=list(grades.left_out) if of_bins else [],
        n_features=denominator["feature"].sampled,
        n_neurons=denominator["neuron"].sampled,
    )


def difference_with(grades: Grades, absent: pd.DataFrame, given: Mapping[str, int]) -> float | None:
    """The headline's difference if the units in `absent` had, in every compared bin, the grade that `given` holds for their kind."""
    return bin_uniform.difference(
        bin_uniform.with_absent(
            grades,
            {
                kind: dict.fromkeys(absent.loc[absent["kind"] == kind, "unit_id"], float(given[kind]))
                for kind in COMPARED
            },
        )
    )
